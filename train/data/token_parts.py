"""Tokenized utterances in parts on disk, so that a long run can continue after an interruption.

In: a folder, and the recordings of a part. Out: `000000.npz`, `000001.npz`, …, each complete or
absent, and `000002.unfinished` for a part that was interrupted. A part also says which of its
recordings could not be used, and why. This module does not know audio.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from formats.files.atomic import write_atomically


@dataclass(frozen=True)
class PreparedUtterance:
    """`frames` int64 [T, K]; `embedding` float32 [C] of the recording; `symbol_frames` add up
    to T."""

    uttid: str
    text: str
    sentence: str | None
    speaker: str | None
    symbol_frames: tuple[int, ...] | None
    frames: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True)
class LeftOut:
    """A recording that cannot be used. `reason` says why and names its file."""

    uttid: str
    reason: str


@dataclass(frozen=True)
class Part:
    """Some recordings: their utterances, and those that were left out."""

    utterances: Sequence[PreparedUtterance] = ()
    left_out: Sequence[LeftOut] = ()

    def __add__(self, other: Part) -> Part:
        return Part(
            [*self.utterances, *other.utterances],
            [*self.left_out, *other.left_out],
        )

    @property
    def names(self) -> set[str]:
        """The names of all recordings in the part, used or left out."""
        return {u.uttid for u in self.utterances} | {found.uttid for found in self.left_out}

    def in_order(self, names: Sequence[str]) -> Part:
        """The same in the order of `names`."""
        place = {name: index for index, name in enumerate(names)}
        return Part(
            sorted(self.utterances, key=lambda found: place[found.uttid]),
            sorted(self.left_out, key=lambda found: place[found.uttid]),
        )


def part_path(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.npz"


def write_part(path: Path, part: Part) -> None:
    """Write a part; it may be empty."""
    known = [(u.uttid, u.text, u.sentence, u.speaker, u.symbol_frames) for u in part.utterances]
    left_out = [(found.uttid, found.reason) for found in part.left_out]
    frames = [u.frames for u in part.utterances]
    content = io.BytesIO()
    np.savez(
        content,
        known=_pack(known),
        left_out=_pack(left_out),
        lengths=np.array([len(f) for f in frames], np.int64),
        frames=np.concatenate(frames or [np.zeros((0, 0))]).astype(np.uint16),
        embeddings=np.array([u.embedding for u in part.utterances], np.float32),
    )
    write_atomically(path, content.getvalue())


def _pack(values: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(values).encode(), np.uint8)


def read_part(path: Path) -> Part:
    """Read what `write_part` wrote."""
    with np.load(path, allow_pickle=False) as part:
        ends = np.cumsum(part["lengths"])
        frames = np.split(part["frames"].astype(np.int64), ends[:-1])
        known = json.loads(part["known"].tobytes())
        embeddings = part["embeddings"]
        left_out = json.loads(part["left_out"].tobytes()) if "left_out" in part else []
    utterances = [
        PreparedUtterance(
            uttid,
            text,
            sentence,
            speaker,
            None if counts is None else tuple(counts),
            frames[row],
            embeddings[row],
        )
        for row, (uttid, text, sentence, speaker, counts) in enumerate(known)
    ]
    return Part(utterances, [LeftOut(*found) for found in left_out])


def read_parts(folder: Path) -> Iterator[PreparedUtterance]:
    """All utterances, in the order of the parts."""
    for path in sorted(folder.glob("*.npz")):
        yield from read_part(path).utterances


def read_left_out(folder: Path) -> list[LeftOut]:
    """All recordings that could not be used, in the order of the parts."""
    return [found for path in sorted(folder.glob("*.npz")) for found in read_part(path).left_out]


def drop_incomplete_parts(folder: Path) -> None:
    """Remove parts with recordings that could not be used, so that these are tried again."""
    for path in folder.glob("*.npz"):
        if read_part(path).left_out:
            path.unlink()
