"""Speech as it is handed out: chunks while it is being made, and whole utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.audio.sound import write_wav


@dataclass(frozen=True)
class Chunk:
    """A piece of speech, ready to be played.

    audio: float32 [n]. frames: int64 [T, K], a column for each of the codec's streams; pauses have
        none. finished: False for the last chunk of an utterance that a bound cut.
    sentence: the number of its sentence, from 1; a pause belongs to the sentence after it.
    sentences: how many the text has.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    frames: NDArray[np.int64]
    finished: bool = True
    sentence: int = 1
    sentences: int = 1


@dataclass(frozen=True)
class Utterance:
    """The speech of a text.

    audio: float32 [n]. frames: int64 [T, K]; pauses have none. finished: False if a bound on steps
        cut a sentence before the model ended it.
    """

    audio: NDArray[np.float32]
    sample_rate: int
    frames: NDArray[np.int64]
    finished: bool

    def save(self, path: str | Path) -> None:
        """Write the audio as a 16-bit WAV; the file appears whole or not at all.

        Raises:
            UserError: a file name that does not end in .wav, or no such folder.
        """
        write_wav(path, self.audio, self.sample_rate)


@dataclass(frozen=True)
class Answer(Utterance):
    """An utterance, and its text as the model wrote it.

    Models may answer in text only: then there are no samples. finished: False if a bound cut the
    text or the speech before the model ended it.
    """

    text: str


def join_chunks(chunks: Sequence[Chunk]) -> Utterance:
    """The whole of one or more chunks."""
    return Utterance(
        audio=np.concatenate([chunk.audio for chunk in chunks]),
        sample_rate=chunks[0].sample_rate,
        frames=np.concatenate([chunk.frames for chunk in chunks]),
        finished=all(chunk.finished for chunk in chunks),
    )
