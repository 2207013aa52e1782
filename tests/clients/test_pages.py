"""What the pages of the server and its clients show runs as it stands, but for the address.

Commands that start a server are held to the command line's own parser; those that install packages
are what `make clients-check` and `make venv` do.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from runtime import serve
from runtime.speech.synthesis import TTS
from tests.clients.conftest import ROOT, TOLERANCE, python_of, seconds_of
from tests.runtime.serving.conftest import Served
from tests.runtime.serving.test_voices import wav
from tests.speech_like import speak

ADDRESS = "http://127.0.0.1:8000"
CLIENTS = sorted((ROOT / "docs" / "clients").glob("*.md"))
PAGES = [ROOT / "docs" / "serving.md", *CLIENTS]
INSTALLED = {"livekit", "pipecat"}  # in environments of their own


def blocks(page: Path, language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines]


def seconds_of_wav(path: Path) -> float:
    """By its bytes: a streamed one does not say its length."""
    with wave.open(str(path)) as file:
        rate_hz = file.getframerate()
    return (path.stat().st_size - 44) / 2 / rate_hz


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page, "python")],
    ids=lambda page: page.stem,
)
def test_python_runs(unlocked: Served, tts: TTS, tmp_path: Path, page: Path) -> None:
    python = python_of(page.stem) if page.stem in INSTALLED else Path(sys.executable)
    for code in blocks(page, "python"):
        assert ADDRESS in code or "http" not in code
        done = subprocess.run(
            [str(python), "-c", code.replace(ADDRESS, unlocked.url)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    made = {path.name: path for path in tmp_path.iterdir()}
    for path in made.values():
        if path.suffix == ".wav":
            seconds = seconds_of(tts, "They know it.")
            assert abs(seconds_of_wav(path) - seconds) <= TOLERANCE * seconds + 0.01, path.name
    if page.stem == "openai":
        assert sorted(made) == ["door.pcm", "events.wav", "streamed.wav", "whole.mp3"]
        seconds = seconds_of(tts, "Is the door open?")
        assert made["door.pcm"].stat().st_size == round(seconds * 24_000) * 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_right(
    unlocked: Served, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("anna.wav").write_bytes(wav(speak(12)))
    for words in commands(page):
        line = shlex.join(words)
        if words[:3] == ["python", "-m", "runtime.serve"]:
            serve.make_parser().parse_args(words[3:])
        elif words[0] == "curl":
            curl = shutil.which("curl") or pytest.skip("no curl here")
            asked = [curl, "-sf", *(word.replace(ADDRESS, unlocked.url) for word in words[1:])]
            assert subprocess.run(asked, capture_output=True, check=True).stdout, line
        elif words[:2] == ["python", "-c"]:
            made = subprocess.run([sys.executable, *words[1:-2]], capture_output=True, check=True)
            assert len(made.stdout) > 16, line
        else:
            assert words[:2] == ["pip", "install"], f"nothing tests: {line}"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("livekit", "clients/livekit.md"),
        ("pipecat", "clients/pipecat.md"),
        ("riva", "riva.md"),
    ],
)
def test_versions_that_pages_name_are_those_that_are_tested(name: str, page: str) -> None:
    package, version = (ROOT / "tests" / "clients" / f"{name}.txt").read_text().strip().split("==")
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert f"`{package.partition('[')[0]}` {version}" in text
