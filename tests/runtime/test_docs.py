"""The Python of docs/runtime.md and docs/chat.md runs unchanged, and commands follow in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.tiny_bundle import Scenario, rewrite_manifest, write_bundle

DOCS = Path(__file__).parents[2] / "docs"
TALKATIVE = Scenario(heads=12, codes_a=range(200), frames_per_token=100.0)
ANSWERS = Scenario(codes_a=range(60), writes=" It is. aloud <sosp>")


@pytest.mark.parametrize(
    ("page", "engine", "scenario", "printed"),
    [
        ("runtime.md", "engine", TALKATIVE, "seconds; "),
        ("chat.md", "engine-chat", ANSWERS, "It is. "),
    ],
)
def test_python_examples(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    page: str,
    engine: str,
    scenario: Scenario,
    printed: str,
) -> None:
    write_bundle(tmp_path / engine, scenario)
    voices = dict.fromkeys(("anna", "oak"), "voices/plain.safetensors")
    rewrite_manifest(tmp_path / engine, voices=voices, default_voice="anna")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, page, "exec"), {})
    assert printed in capsys.readouterr().out


MADE = re.compile(r"(?:engine|scales|codec|teacher)[-/][a-z0-9-]+|engine|scales")
PAGES = ("docs/calibration.md", "docs/chat.md", "samples/demo_chat/README.md")


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of a page, in the page's order."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line, comments=True)


def folders(words: list[str]) -> set[str]:
    """The folders of a command that commands make, without the names that are given to them."""
    return {name for word in words if MADE.fullmatch(name := word.rpartition("=")[2])}


@pytest.mark.parametrize("page", PAGES)
def test_what_commands_read_was_made_by_others_before(page: str) -> None:
    there: set[str] = set()
    for words in commands(DOCS.parent / page):
        if "--output" in words:
            made = {words[words.index("--output") + 1]}
        else:
            made = {words[-1]} if "samples.demo_voice.synthesize" in words else set()
        assert folders(words) - made <= there, words
        assert not {"export.build"} & {*words} or made, f"would replace engine: {words}"
        there |= made
