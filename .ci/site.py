"""Hooks of the documentation's site (mkdocs.yml): pages that lie outside docs/, and their links.

In: the repository. Out: pages for the README, CONTRIBUTING, the changelog and the samples, beside
those of docs/. Links between pages lead to the site's pages. A link to a file that the site does
not have, such as a source file, becomes its text. No page loads anything from elsewhere.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# File of the repository -> page of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "samples/demo_voice/README.md": "demo-voice.md",
    "samples/demo_chat/README.md": "demo-chat.md",
    "samples/evaluation/README.md": "sentences.md",
}
# A comment in whose place a page shows a file.
SOURCE = re.compile(r"^<!-- source: (\S+) -->$", re.MULTILINE)
# A script that the theme would load from elsewhere -> our copy of it.
SHIM = "https://unpkg.com/iframe-worker/shim"
LOCAL_SHIM = "site/iframe-worker.js"
SOURCES = {page: source for source, page in PAGES.items()}
# Code, which is passed over, or a link with its text and its target.
CODE_OR_LINK = re.compile(
    r"^```.*?^```|`[^`\n]+`|!?\[((?:[^\[\]`]|`[^`]*`)*)\]\(([^)\s]+)\)", re.MULTILINE | re.DOTALL
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in PAGES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    uri = page.file.src_uri
    source = SOURCES.get(uri, f"docs/{uri}")

    def replace(match: re.Match[str]) -> str:
        text, target = match.groups()
        if target is None or "://" in target or target.startswith("#"):
            return match.group()
        path, _, anchor = target.partition("#")
        found = find_page(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        if found is None:
            return str(text)
        found = posixpath.relpath(found, posixpath.dirname(uri) or ".")
        start = match.group().removesuffix(f"({target})")
        return f"{start}({found}{'#' + anchor if anchor else ''})"

    return SOURCE.sub(show_source, CODE_OR_LINK.sub(replace, markdown))


def show_source(match: re.Match[str]) -> str:
    return f"```python\n{(ROOT / match[1]).read_text(encoding='utf-8')}```"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    return output.replace(SHIM, posixpath.relpath(LOCAL_SHIM, posixpath.dirname(page.url) or "."))


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    return output.replace(SHIM, f"/{LOCAL_SHIM}")  # of the page for missing pages, at any depth


def find_page(path: str) -> str | None:
    """What the site calls a file or folder of the repository, if it has it."""
    if path in PAGES or f"{path}/README.md" in PAGES:
        return PAGES.get(path) or PAGES[f"{path}/README.md"]
    return path.removeprefix("docs/") if path.startswith("docs/") else None
