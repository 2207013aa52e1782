"""How speech is cut into chunks: short ones at first, to be heard soon, then longer ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from commands.errors import UserError
from runtime.bundle.manifest import CodecSpec
from runtime.bundle.names import MAX_CALL_FRAMES

FIRST_SECONDS = 0.125
LONGEST_SECONDS = 2.0  # longer chunks are no faster, but take memory
MAX_CHUNK_FRAMES = 2 * MAX_CALL_FRAMES


@dataclass(frozen=True)
class ChunkSchedule:
    """How many frames each streamed chunk holds.

    Long chunks cost a little less in total. Neither frames nor samples depend on the schedule.
    """

    first_frames: int
    growth: float
    max_frames: int

    def __post_init__(self) -> None:
        if not 1 <= self.first_frames <= self.max_frames <= MAX_CHUNK_FRAMES:
            raise UserError(
                f"a chunk schedule needs 1 <= first_frames <= max_frames <= {MAX_CHUNK_FRAMES}, "
                f"not {self.first_frames} and {self.max_frames}"
            )
        if not 1.0 <= self.growth <= MAX_CHUNK_FRAMES:
            raise UserError(f"a chunk schedule's growth is {self.growth:g}; it must be 1 or more")

    def sizes(self) -> Iterator[int]:
        """Frames of the first chunk, the second, and so on without end."""
        size = float(self.first_frames)
        while True:
            yield int(size)
            size = min(size * self.growth, float(self.max_frames))


def soon_heard(codec: CodecSpec) -> ChunkSchedule:
    """The default for listeners: the first chunk is short, and each is twice as long as the one
    before, up to a few seconds."""
    longest = _frames(codec, LONGEST_SECONDS)
    return ChunkSchedule(min(_frames(codec, FIRST_SECONDS), longest), 2.0, longest)


def least_work(codec: CodecSpec) -> ChunkSchedule:
    """For speech that nobody is waiting to hear: all chunks are long."""
    longest = _frames(codec, LONGEST_SECONDS)
    return ChunkSchedule(longest, 1.0, longest)


def _frames(codec: CodecSpec, seconds: float) -> int:
    return min(max(1, round(seconds * codec.frames_per_second)), MAX_CHUNK_FRAMES)
