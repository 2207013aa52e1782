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

    Long chunks cost a little less in total. Neither frames nor samples depend on their sizes.

    look_ahead: for how many later frames the first chunk waits, instead of all that its audio
    depends on (`delay_frames` of the codec). Its end is then an estimate, and one frame behind it a
    fade; all else is exact. None: the first chunk is exact, too.
    """

    first_frames: int
    growth: float
    max_frames: int
    look_ahead: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.first_frames <= self.max_frames <= MAX_CHUNK_FRAMES:
            raise UserError(
                f"a chunk schedule needs 1 <= first_frames <= max_frames <= {MAX_CHUNK_FRAMES}, "
                f"not {self.first_frames} and {self.max_frames}"
            )
        if not 1.0 <= self.growth <= MAX_CHUNK_FRAMES:
            raise UserError(f"a chunk schedule's growth is {self.growth:g}; it must be 1 or more")
        if self.look_ahead is not None and self.look_ahead < 0:
            raise UserError(
                f"a look-ahead of {self.look_ahead} frames is not possible; give 0 or more"
            )

    def sizes(self) -> Iterator[int]:
        """Frames of the first chunk, the second, and so on without end.

        Behind a hastened chunk the next one does not grow: it waits for the look-ahead that is
        left, while only the short first one is being heard.
        """
        size = float(self.first_frames)
        if self.look_ahead is not None:
            yield self.first_frames
        while True:
            yield int(size)
            size = min(size * self.growth, float(self.max_frames))


def soon_heard(codec: CodecSpec, look_ahead: int | None = None) -> ChunkSchedule:
    """The default for listeners: the first chunk is short, and each is twice as long as the one
    before, up to a few seconds. look_ahead: as in `ChunkSchedule`."""
    longest = _frames(codec, LONGEST_SECONDS)
    return ChunkSchedule(min(_frames(codec, FIRST_SECONDS), longest), 2.0, longest, look_ahead)


def least_work(codec: CodecSpec) -> ChunkSchedule:
    """For speech that nobody is waiting to hear: all chunks are long."""
    longest = _frames(codec, LONGEST_SECONDS)
    return ChunkSchedule(longest, 1.0, longest)


def _frames(codec: CodecSpec, seconds: float) -> int:
    return min(max(1, round(seconds * codec.frames_per_second)), MAX_CHUNK_FRAMES)
