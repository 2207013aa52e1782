"""Tokens of phonemes as tokens of letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from samples.spelling import main
from tests.train.test_tokens import FRAMES
from train.tokens import TokenizedUtterance, read_utterances, write_utterances


def test_utterances_are_spelt_and_others_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = len(FRAMES)
    counts = (0, frames, 0, 0)
    utterances = [
        TokenizedUtterance("u0", "ab", FRAMES, symbol_frames=counts, sentence="Yes."),
        TokenizedUtterance("u1", "a b", FRAMES, symbol_frames=(*counts, 0), sentence="12."),
        TokenizedUtterance("u2", "ab", FRAMES),
    ]
    write_utterances(tmp_path / "h3.jsonl", utterances, 3)
    words = [str(tmp_path / "h3.jsonl"), str(tmp_path / "letters" / "h3.jsonl"), "--heads", "3"]
    assert main(words) == 0
    (spelt,) = read_utterances(tmp_path / "letters" / "h3.jsonl", 3)
    assert (spelt.uttid, spelt.text, spelt.sentence) == ("u0", "Yes.", None)
    assert len(spelt.symbol_frames or ()) == len("Yes.") + 2
    assert sum(spelt.symbol_frames or ()) == frames
    assert "1 utterances" in (printed := capsys.readouterr().out)
    assert "2 left out" in printed
