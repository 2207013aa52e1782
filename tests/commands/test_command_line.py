"""Mistakes on a command line: one line, and where to find the options."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

import calibration.run
import export.build
import runtime.chat
import runtime.gpu_check
import runtime.profile
import runtime.tts

Main = Callable[[Sequence[str] | None], int]


@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (
            runtime.tts.main,
            "They know it. -o out.wav",
            "arguments: know it.; put the text in quotes",
        ),
        (
            runtime.chat.main,
            "--question Who is it?",
            "is it?; put the text in quotes, after --question",
        ),
        (runtime.profile.main, "--text One two", "two; put the text in quotes, after --text"),
        (runtime.tts.main, "-o", "argument -o/--output: expected one argument"),
        (
            runtime.tts.main,
            "--seed x hi",
            "--seed: must be a whole number from 0, not 'x'",
        ),
        (runtime.tts.main, "--top-k x hi", "argument --top-k: invalid int value: 'x'"),
        (runtime.tts.main, "hi --max-steps 0", "--max-steps: must be a whole number from 1"),
        (runtime.profile.main, "--runs 0", "--runs: must be a whole number from 1, not '0'"),
        (runtime.gpu_check.main, "--find-gpu --runs 0", "--runs: must be a whole number from 1"),
        (runtime.tts.main, "", "nothing to say"),
        (export.build.main, "--no-such-option", "unrecognized arguments: --no-such-option;"),
        (calibration.run.main, "", "--precision, --output"),
    ],
)
def test_a_mistake_is_one_line_that_leads_to_the_options(
    main: Main, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert line.endswith(f"; see python -m {main.__module__} --help")
