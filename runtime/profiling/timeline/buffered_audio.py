"""How much audio waits to be played, at every moment of an utterance.

In: the chunks that a player has begun. Out: points of time and seconds of audio; between two points
the amount falls in a straight line, and at a chunk it jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.profiling.report import PlayedChunk


@dataclass(frozen=True)
class Level:
    """seconds: of audio that is ready and not yet played, at `time` since the text was given."""

    time: float
    seconds: float


def begins(chunk: PlayedChunk) -> float:
    """When the player begins the chunk: a late one as soon as it is there."""
    return chunk.due + chunk.late


def playback_end(chunks: Sequence[PlayedChunk]) -> float:
    """When the last chunk has been played; 0 without chunks."""
    return max((begins(chunk) + chunk.audio_seconds for chunk in chunks), default=0.0)


def buffered_audio(chunks: Sequence[PlayedChunk]) -> list[Level]:
    """The levels before and after each chunk, and those where the player has run dry."""
    levels: list[Level] = []
    end = chunks[0].ready if chunks else 0.0  # of what has been handed out so far
    for chunk in chunks:
        if chunk.ready > end:
            levels.append(Level(end, 0.0))
        # What waits is played without a pause, so it lasts until `end`.
        waiting = max(0.0, end - chunk.ready)
        levels += [Level(chunk.ready, waiting), Level(chunk.ready, waiting + chunk.audio_seconds)]
        end = begins(chunk) + chunk.audio_seconds
    return [*levels, Level(end, 0.0)] if chunks else []
