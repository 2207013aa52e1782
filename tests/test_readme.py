"""The README from its first line to its last, in one shell, as on an empty machine.

Every block runs, including the small training. Three things stand in: the clone is a copy of this
working tree, packages are those of the Python that runs the tests, so that nothing is installed
twice (`make demo` and tests/test_install.py really install), and the server gets a free port. Links
of all pages are checked as well.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import PROJECT

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "samples").glob("*/README.md")),
]
EXTRAS = PROJECT["optional-dependencies"]
PORT = ":8000/"
LATER = "209901010000"  # newer than every source, so that make installs nothing
STAND_INS = """\
set -e
git() {{ echo "git $*" >> {log}; cp -r {snapshot} "${{@: -1}}"; }}
pip() {{ echo "pip $*" >> {log}; }}
make_environment() {{
    mkdir -p "$1/bin"
    printf '#!/bin/sh\\nexec %s "$@"\\n' {python} > "$1/bin/python"
    chmod +x "$1/bin/python"
    echo "export PATH=\\"$PWD/$1/bin:\\$PATH\\"" > "$1/bin/activate"
    touch -t {later} "$1/installed"
}}
python3() {{ test "$*" = "-m venv .venv"; make_environment .venv; }}
make() {{ make_environment .venv-demo; command make "$@"; }}
"""


def blocks() -> list[tuple[str, str]]:
    """The language and the content of every fenced block, in the README's order."""
    return re.findall(r"^```(sh|python)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def script(folder: Path) -> str:
    """All blocks as one script for bash."""
    lines = [
        STAND_INS.format(
            log=shlex.quote(str(folder / "log")),
            snapshot=shlex.quote(str(folder / "snapshot")),
            python=shlex.quote(sys.executable),
            later=LATER,
        )
    ]
    for language, content in blocks():
        content = on_free_port(content)
        lines.append(content if language == "sh" else f"python - <<'END'\n{content}END\n")
    return "\n".join(lines)


def on_free_port(content: str) -> str:
    """Port 8000 may be in use on the machine that runs the tests."""
    if PORT not in content:
        return content
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = "runtime.serve "
    assert content.count(serve) == 1
    return content.replace(PORT, f":{port}/").replace(serve, f"{serve}--port {port} ")


def copy_tree(target: Path) -> None:
    """Copy the files that a clone of this working tree would hold."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which every block has been run."""
    folder = tmp_path_factory.mktemp("readme")
    copy_tree(folder / "snapshot")
    environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(
        ["bash", "-c", script(folder)],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return folder


def test_no_step_fails_and_everything_is_there(followed: Path) -> None:
    clone = followed / "slm-deploy"
    for sound in ("demo.wav", "joe.wav", "anna.wav", "mumble.wav"):
        assert (clone / sound).stat().st_size > 8_000, f"{sound}: more than a quarter of a second"
    assert (clone / "served.mp3").stat().st_size > 2_000, "the same, in fewer bytes"
    for file in ("profile.json", "my-engine/manifest.json", "my-voice/manifest.json"):
        assert (clone / file).is_file(), file


def test_the_clone_has_no_history(followed: Path) -> None:
    assert (followed / "log").read_text().startswith("git clone --depth 1 ")


def test_demo_is_the_first_command_after_the_clone() -> None:
    commands = [line for _, content in blocks() for line in content.splitlines()]
    assert commands[1] == "cd slm-deploy"
    assert commands[2].startswith("make demo TEXT=")


def test_make_demo_installs_and_speaks() -> None:
    subprocess.run(["make", "demo", "TEXT=The birds sang."], cwd=ROOT, check=True)
    assert (ROOT / "demo.wav").stat().st_size > 16_000  # more than half a second


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_documented_extras_exist_and_need_no_index(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for names in re.findall(r"\.(?:whl)?\[([a-z0-9-]+(?:,[a-z0-9-]+)*)\]\"", text):
        assert set(names.split(",")) <= set(EXTRAS), names
    assert "slm-deploy[" not in text, "there is no such name on an index"


def heading_anchors(page: Path) -> set[str]:
    """The targets that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]+`", "", page.read_text(encoding="utf-8"))  # code has no links
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in heading_anchors(linked), target
