"""The streams of a codec's frames: how many there are, how many codes each has, and their rate.

A codec's configuration determines them, and each stage writes them down for the next one. Only the
codec knows what each stream holds. For a language model they are the columns of a frame, and its
tokens name them a, b, c …
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commands.errors import UserError
from formats.files.strict_fields import build_dataclass

LETTERS = "abcdefghijklmnop"
MAX_STREAMS = len(LETTERS)
MAX_CODES = 65_536  # of one stream, far beyond any real codec


@dataclass(frozen=True)
class Streams:
    """sizes: codes of each stream. The defaults are FACodec's (NaturalSpeech 3, arXiv 2403.03100):
    content 1, content 2, prosody."""

    sizes: tuple[int, ...] = (1024, 1024, 1024)
    frames_per_second: float = 80.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.sizes) <= MAX_STREAMS:
            raise UserError(f"a codec has 1 to {MAX_STREAMS} streams, not {len(self.sizes)}")
        if not all(1 <= size <= MAX_CODES for size in self.sizes):
            raise UserError(f"a stream has 1 to {MAX_CODES} codes, not as in {list(self.sizes)}")
        if not 0 < self.frames_per_second < float("inf"):
            raise UserError(f"frames per second must be positive, not {self.frames_per_second:g}")

    def __str__(self) -> str:
        sizes = ", ".join(str(size) for size in self.sizes)
        return f"{sizes} codes at {self.frames_per_second:g} frames a second"

    @property
    def count(self) -> int:
        """Codes of one frame."""
        return len(self.sizes)

    @property
    def names(self) -> str:
        """One letter for each stream, as in the tokens `<a17>`, `<b4>`, `<c1023>`."""
        return LETTERS[: self.count]

    @property
    def largest(self) -> int:
        """Codes of the largest stream."""
        return max(self.sizes)

    @property
    def offsets(self) -> tuple[int, ...]:
        """The first number of each stream if all codes are numbered in order."""
        return tuple(sum(self.sizes[:stream]) for stream in range(self.count))

    @property
    def total(self) -> int:
        """Codes of all streams."""
        return sum(self.sizes)

    def frames_per_step(self, heads: int) -> int:
        """Whole frames of a step of `heads` codes.

        Raises:
            UserError: the step does not end with a frame.
        """
        if heads < self.count or heads % self.count:
            raise UserError(f"heads must be a multiple of {self.count} (or 1), not {heads}")
        return heads // self.count

    def to_json(self) -> dict[str, Any]:
        """What `parse_streams` reads."""
        return {"sizes": list(self.sizes), "frames_per_second": self.frames_per_second}


FACODEC = Streams()


def parse_streams(values: object, where: str) -> Streams:
    """The streams that a JSON object describes. Raises `UserError` that begins with `where`."""
    for key in ("sizes", "frames_per_second"):
        if isinstance(values, Mapping) and key not in values:
            raise UserError(f"{where}: key {key!r} is missing")
    try:
        return build_dataclass(Streams, values, where)
    except UserError as error:
        message = str(error)
        raise UserError(message if message.startswith(where) else f"{where}: {message}") from None
