"""The pages of GPUs, which nobody can run here: what they quote and type is what the code has.

Messages that they quote are matched with the texts of the sources, in which every value is open.
Commands are parsed as they are typed, and read only folders that earlier commands made.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.arguments import CommandParser
from runtime.bundle.names import TENSORRT
from runtime.engines.tensorrt.parsers import usual_dialect

ROOT = Path(__file__).parent.parent
PAGES = ("gpu", "gpu-runtime", "gpu-server", "jetson-orin", "jetson-thor", "rtx")
PACKAGES = ("commands", "export", "runtime", "calibration", "formats")
LEAST_WORDS = 20  # characters that a text of the sources has beside its values, to be a message
BLOCK = re.compile(r"^```(?:sh|powershell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
READ = ("--bundle", "--calibration", "--codec-calibration", "--engine", "--reference")


def text_of(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


def messages(sources: Iterator[Path]) -> list[re.Pattern[str]]:
    """All texts of the sources that could be messages, with values open."""
    found = []
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            words = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            texts = [word for word in words if isinstance(word, str)]
            if sum(map(len, texts)) >= LEAST_WORDS:
                escaped = (".+" if word is None else re.escape(str(word)) for word in words)
                found.append(re.compile("".join(escaped)))
    return found


@pytest.fixture(scope="module")
def known() -> list[re.Pattern[str]]:
    return messages(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def commands(page: str) -> Iterator[list[str]]:
    """The words behind `python -m` of each command of a page, in the page's order."""
    for block in BLOCK.findall(text_of(page)):
        for line in block.replace("\\\n", " ").replace("\\", "/").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["python", "-m"]:
                yield words[2:]


@pytest.mark.parametrize("page", PAGES)
def test_messages_are_those_of_the_code(page: str, known: list[re.Pattern[str]]) -> None:
    quoted = re.findall(r"`error: ([^`\n]+)`", text_of(page))
    assert quoted or not re.search(r"^## What goes wrong", text_of(page), re.MULTILINE)
    for message in quoted:
        assert any(pattern.fullmatch(message) for pattern in known), message


def test_a_message_that_no_code_has_is_found(known: list[re.Pattern[str]]) -> None:
    right = "--block 32: TensorRT has 64 or 128"
    assert any(pattern.fullmatch(right) for pattern in known)
    for wrong in ("--block 32: TensorRT knows 64 or 128", "engine: cannot be built"):
        assert not any(pattern.fullmatch(wrong) for pattern in known)


@pytest.mark.parametrize("page", PAGES)
def test_commands_have_these_options(page: str) -> None:
    for module, *arguments in commands(page):
        parser: CommandParser = importlib.import_module(module).make_parser()
        parser.parse_args(arguments)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "gpu-runtime"])
def test_commands_read_what_others_made_before(page: str) -> None:
    made: set[str] = set()
    for words in commands(page):
        read = {words[words.index(option) + 1] for option in READ if option in words}
        assert read <= made, words
        if "--output" in words:
            made.add(words[words.index("--output") + 1])


@pytest.mark.parametrize("page", ["jetson-orin", "jetson-thor"])
def test_a_jetpack_has_the_dialect_of_its_tensorrt(page: str) -> None:
    rows = re.findall(
        r"^\| ([67]\.\S[^|]*) \|(?:[^|]*\|){3} ([\d.]+) \| `(\w+)` \| `(\w+)` \|$",
        text_of(page),
        re.MULTILINE,
    )
    assert len(rows) == 2
    for jetpack, version, dialect, extra in rows:
        assert dialect == usual_dialect(TENSORRT, version)
        assert extra == f"jetpack{jetpack[0]}"
