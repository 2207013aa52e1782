"""The documentation's site: it builds without a warning, and reading it needs no network."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parent.parent
PUBLIC = ("TTS", "Chat", "Sampling", "Chunk", "Utterance", "Answer", "UserError", "TextWarning")
# Elements that a browser loads without being asked, and their addresses.
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"?([^\s\">]+)")
# Links that are not loaded, though they are written as such elements.
NOT_LOADED = re.compile(r"<link\b[^>]*rel=\"?(?:prev|next|canonical)\b[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def loaded(page: Path) -> list[str]:
    return LOADED.findall(NOT_LOADED.sub("", page.read_text(encoding="utf-8")))


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert [address for address in loaded(page) if "//" in address] == [], page.name
        text = page.read_text(encoding="utf-8")
        assert 'class="mermaid"' not in text, "the theme would load mermaid from elsewhere"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), sheet.name


def test_everything_that_pages_load_is_there(site: Path) -> None:
    for page in sorted(site.glob("*.html")):
        if page.name == "404.html":  # its addresses begin at the server's root
            continue
        for address in loaded(page):
            if not address.startswith("data:"):
                assert (page.parent / unquote(urlsplit(address).path)).exists(), address


def test_reference_has_the_public_api(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in PUBLIC:
        assert f'id="runtime.{name}"' in text, name


def test_reference_has_the_contract(site: Path) -> None:
    text = (site / "api-bundle.html").read_text(encoding="utf-8")
    assert 'id="runtime.bundle.manifest.Manifest"' in text
    assert "INPUTS_EMBEDS" in text


@pytest.mark.parametrize("figure", ["speed", "peers"])
def test_a_figure_is_that_of_its_page(figure: str) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "figures" / f"{figure}.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    picture = script["PICTURE"].read_text(encoding="utf-8")
    assert script["draw"](script["make_panels"](page)) == picture


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in navigation, page.name
