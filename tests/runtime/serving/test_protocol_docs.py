"""The examples of docs/websocket.md and docs/wyoming.md run, and their commands are understood, as
is that of docs/riva.md, whose example runs where Riva's client is (tests/clients/test_riva.py)."""

from __future__ import annotations

import re
import shlex
import wave
from pathlib import Path

import httpx2 as httpx
import pytest

from runtime import serve
from runtime.speech.synthesis import TTS
from tests.runtime.serving.wyoming.conftest import Speaker, speaking

DOCS = Path(__file__).parents[3] / "docs"
PAGES = ("websocket.md", "wyoming.md")


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def here(example: str, speaker: Speaker) -> str:
    """The example, with this server's address and voice."""
    address = speaker.url.removeprefix("http://")
    return (
        example.replace("127.0.0.1:8000", address)
        .replace("10200", str(speaker.port))
        .replace('"joe"', '"plain"')
    )


@pytest.mark.parametrize("page", PAGES)
def test_examples(
    tts: TTS,
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(page, "py")
    with speaking(tts) as speaker:
        exec(compile(here(example, speaker), page, "exec"), {})
    said = capsys.readouterr().out
    if page == "websocket.md":
        assert "'type': 'session.done', 'utterance_index': 0, 'total_sentences': 2" in said
        text = "They know it. And you?"
        with wave.open("they.wav") as file:
            seconds = file.getnframes() / file.getframerate()
        expected = len(tts.synthesize(text, voice="plain").audio) / tts.sample_rate
        assert seconds == pytest.approx(expected, rel=0.02)
    else:
        length = 2 * len(tts.synthesize("They know it.", voice="plain").audio)
        assert said == f"{length} bytes\n"


def commands_of(page: str) -> list[list[str]]:
    return [shlex.split(line) for block in blocks(page, "sh") for line in block.splitlines()]


@pytest.mark.parametrize(
    ("page", "option", "port"),
    [("wyoming.md", "wyoming_port", 10_200), ("riva.md", "grpc_port", 50_051)],
)
def test_servers_are_started_as_the_page_says(page: str, option: str, port: int) -> None:
    starts = ["python", "-m", "runtime.serve"]
    (options,) = (words[3:] for words in commands_of(page) if words[:3] == starts)
    assert getattr(serve.make_parser().parse_args(options), option) == port


def test_commands(tts: TTS) -> None:
    commands = commands_of("wyoming.md")
    (curl,) = (words for words in commands if words[0] == "curl")
    _, url, _, header, _, body, _, file = curl
    name, _, value = header.partition(": ")
    with speaking(tts) as speaker:
        answer = httpx.post(here(url, speaker), headers={name: value}, content=body, timeout=60)
    assert answer.status_code == 200
    assert answer.content[:4] == b"RIFF"
    assert file == "they.wav"
