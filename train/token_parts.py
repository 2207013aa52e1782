"""Tokenized utterances in parts on disk, so that a long tokenizing run can go on where it stopped.

In: a folder and a plan (codec, recordings, options) that all of its parts share. Out:
`000000.npz`, `000001.npz`, …, each complete or absent. Knows nothing of audio.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import UserError
from runtime.files import write_atomically

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class PreparedUtterance:
    """`frames` int64 [T, 3]; `embedding` float32 [C] of the recording; `symbol_frames` add up
    to T."""

    uttid: str
    text: str
    sentence: str | None
    speaker: str | None
    symbol_frames: tuple[int, ...] | None
    frames: np.ndarray
    embedding: np.ndarray


def check_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Begin a folder with `plan`. Raises `UserError` if it was begun with another one."""
    path = folder / PLAN_FILE
    text = json.dumps(plan, sort_keys=True)
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    elif path.read_text(encoding="utf-8") != text:
        raise UserError(
            f"{folder}: was begun with another codec, other recordings or other options; "
            "delete it to begin again"
        )


def part_path(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.npz"


def write_part(path: Path, utterances: Sequence[PreparedUtterance]) -> None:
    """Write a part; it may be empty."""
    known = [(u.uttid, u.text, u.sentence, u.speaker, u.symbol_frames) for u in utterances]
    frames = [u.frames for u in utterances]
    content = io.BytesIO()
    np.savez(
        content,
        known=np.frombuffer(json.dumps(known).encode(), np.uint8),
        lengths=np.array([len(f) for f in frames], np.int64),
        frames=np.concatenate([np.zeros((0, 3), np.int64), *frames]).astype(np.int16),
        embeddings=np.array([u.embedding for u in utterances], np.float32),
    )
    write_atomically(path, content.getvalue())


def read_parts(folder: Path) -> Iterator[PreparedUtterance]:
    """All utterances, in the order of the parts."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as part:
            ends = np.cumsum(part["lengths"])
            frames = np.split(part["frames"].astype(np.int64), ends[:-1])
            known = json.loads(part["known"].tobytes())
            embeddings = part["embeddings"]
        for row, (uttid, text, sentence, speaker, counts) in enumerate(known):
            counts = None if counts is None else tuple(counts)
            yield PreparedUtterance(
                uttid, text, sentence, speaker, counts, frames[row], embeddings[row]
            )
