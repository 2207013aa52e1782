"""Options that commands share: what they take, and what their help says."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from commands import options
from commands.arguments import CommandParser, command_parser


def make_parser() -> CommandParser:
    parser = command_parser("train.example", "Try the options.", more="more:\n  100 % as it is")
    options.add_output(parser, "folder to write")
    options.add_limit(parser, "recordings")
    options.add_count(parser, "--worst", "utterances to keep", default=5, least=0)
    options.add_threads(parser, "the bundle")
    options.add_seed(parser)
    options.add_device(parser)
    options.add_frontend(parser)
    options.add_max_minutes(parser)
    options.add_resume(parser)
    options.add_former(parser, "--minutes", "--max-minutes")
    return parser


def parse(*words: str) -> argparse.Namespace:
    return make_parser().parse_args(["--output", "out", *words])


def test_defaults() -> None:
    parsed = vars(parse())
    assert str(parsed.pop("output")) == "out"
    expected = {"worst": 5, "seed": 0, "device": "cpu", "frontend": "none", "language": "en-us"}
    empty = ("limit", "threads", "max_minutes", "minutes")
    assert parsed == {**expected, **dict.fromkeys(empty), "resume": False}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--limit 0", "argument --limit: must be a whole number from 1, not '0'"),
        ("--worst -1", "argument --worst: must be a whole number from 0, not '-1'"),
        ("--threads ٣", "argument --threads: must be a whole number from 1"),
        ("--seed 1.5", "argument --seed: must be a whole number from 0, not '1.5'"),
        ("--max-minutes 0", "argument --max-minutes: must be a number above 0, not '0'"),
        ("--max-minutes nan", "argument --max-minutes: must be a number above 0, not 'nan'"),
        ("--max-minutes inf", "argument --max-minutes: must be a number above 0, not 'inf'"),
        ("--frontend espeak", "argument --frontend: invalid choice: 'espeak'"),
        ("--minutes 3", "--minutes is now called --max-minutes; see python -m train.example"),
        ("--minutes", "--minutes is now called --max-minutes"),
    ],
)
def test_mistakes_are_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*words.split())
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_help_says_what_the_words_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        make_parser().parse_args(["--help"])
    printed = capsys.readouterr().out
    said = " ".join(printed.split())
    assert "none (default): the text as it is written; hibari: English phonemes" in said
    assert "utterances to keep (default: 5)" in said
    assert "the same command goes on where it stopped" in said
    assert printed.endswith("more:\n  100 % as it is\n")
    assert "--minutes" not in said.replace("--max-minutes", "")


@pytest.mark.parametrize(
    "add", [options.add_engine, lambda o, d=None: options.add_output(o, "", d)]
)
def test_paths_are_required_unless_there_is_a_default(
    add: Callable[..., None],
) -> None:
    parser = CommandParser(prog="x")
    add(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([])
    parser = CommandParser(prog="x")
    add(parser, "there")
    assert "there" in {str(value) for value in vars(parser.parse_args([])).values()}
