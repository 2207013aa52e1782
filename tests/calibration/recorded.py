"""What tests of calibration follow and read: frames of a recording, and a calibration's record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from formats.calibration.record import RECORD_FILE
from formats.tokens import TokenizedUtterance, write_utterances
from tests.tiny_codec import TINY_STREAMS


def write_tokens(folder: Path, heads: int, utterances: int, frames: int, seed: int = 1) -> Path:
    """A file of random utterances, the first with so many frames, each with one more."""
    random = np.random.default_rng(seed)
    recorded = [
        TokenizedUtterance(
            f"u{n}",
            "They know it.",
            random.integers(0, 1024, (frames + n, 3)),
            streams=TINY_STREAMS,
        )
        for n in range(utterances)
    ]
    write_utterances(folder / "tokens.jsonl", recorded, heads)
    return folder / "tokens.jsonl"


def record_of(folder: Path) -> dict:
    """`calibration.json` as it is written."""
    record: dict = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    return record
