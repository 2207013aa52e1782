"""What a listener would have noticed: a player that starts at the first chunk.

In: when each chunk of audio was handed out, and how long it lasts. Out: when the player needed it,
and where it ran dry. A player that runs dry waits for the chunk and plays on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from runtime.profiling.report import Playback, PlayedChunk
from runtime.profiling.statistics import summarize

NOTICED_SECONDS = 0.001  # shorter waits are within the buffer of any player


@dataclass(frozen=True)
class Handed:
    """A chunk: when it was handed out, since the text was given, and what it holds."""

    ready: float
    audio_seconds: float
    frames: int
    sentence: int


def play(chunks: Sequence[Handed]) -> list[PlayedChunk]:
    """Play them one after another."""
    played = []
    due = chunks[0].ready if chunks else 0.0
    for chunk in chunks:
        late = max(0.0, chunk.ready - due)
        played.append(
            PlayedChunk(
                ready=chunk.ready,
                due=due,
                late=late,
                audio_seconds=chunk.audio_seconds,
                frames=chunk.frames,
                sentence=chunk.sentence,
            )
        )
        due += late + chunk.audio_seconds
    return played


def summarize_playback(runs: Sequence[Sequence[PlayedChunk]]) -> Playback:
    """All runs together. Silent chunks, such as an empty last one, are not waited for."""
    heard = [[chunk for chunk in run if chunk.audio_seconds > 0] for run in runs]
    gaps = [later.ready - earlier.ready for run in heard for earlier, later in pairwise(run)]
    waits = [chunk.late for run in heard for chunk in run if chunk.late > NOTICED_SECONDS]
    spare = [min(chunk.due - chunk.ready for chunk in run[1:]) for run in heard if len(run) > 1]
    return Playback(
        runs=len(runs),
        gaps=summarize(gaps) if gaps else None,
        underruns=len(waits),
        longest_wait=max(waits, default=0.0),
        spare=summarize(spare) if spare else None,
    )
