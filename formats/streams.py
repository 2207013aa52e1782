"""The streams of a codec's frames: how many there are, how many codes each has, and their rate.

Every stage takes them from here, or from what an earlier stage wrote down. Which stream is which is
the codec's affair: to a language model they are columns of a frame, named a, b, c … in its tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from commands.errors import UserError

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

    @property
    def count(self) -> int:
        """Codes of one frame."""
        return len(self.sizes)

    @property
    def names(self) -> str:
        """One letter a stream, as tokens have it: `<a17>`, `<b4>`, `<c1023>`."""
        return LETTERS[: self.count]

    @property
    def largest(self) -> int:
        """Codes of the largest stream."""
        return max(self.sizes)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each stream begins if all codes are numbered through."""
        return tuple(sum(self.sizes[:stream]) for stream in range(self.count))

    @property
    def total(self) -> int:
        """Codes of all streams."""
        return sum(self.sizes)

    def frames_per_step(self, heads: int) -> int:
        """Whole frames of a step of `heads` codes.

        Raises:
            UserError: a step that does not end with a frame.
        """
        if heads < self.count or heads % self.count:
            raise UserError(f"heads must be a multiple of {self.count} (or 1), not {heads}")
        return heads // self.count


FACODEC = Streams()
