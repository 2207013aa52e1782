"""A codec's decoder led through whole utterances, at any precision.

In: a loaded decoder graph, and frames with their speakers. Out: audio, and how far it is from
another engine's. Audio comes late by the same delay in every engine, so it is compared as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from calibration.utterances import Utterance
from export.graph_runner import Arrays, GraphRunner
from export.weights import Array
from runtime.bundle import (
    AUDIO,
    CODEC_FRAMES,
    PAST_FRAMES,
    SPEAKER,
    UTTERANCE_FRAMES,
)

CALL_FRAMES = 160  # of one call: 2 s
SILENCE = 1e-12  # keeps a ratio finite

Watch = Callable[[Arrays], None]  # takes watched values by name


def follow_decoder(decoder: GraphRunner, utterance: Utterance, watch: Watch | None = None) -> Array:
    """Audio float32 (samples) of the utterance, in the delay of the graph.

    watch: called with the values that the graph was loaded with `watched` for.
    """
    decoder.reset()
    frames, count = utterance.frames[None], len(utterance.frames)
    audio = []
    for start in range(0, count, CALL_FRAMES):
        values = decoder.run(
            {
                CODEC_FRAMES: frames[:, start : start + CALL_FRAMES],
                SPEAKER: utterance.speaker[None],
                PAST_FRAMES: np.array([start]),
                UTTERANCE_FRAMES: np.array([count]),
            }
        )
        audio.append(values[AUDIO][0])
        if watch is not None:
            watch(values)
    return np.concatenate(audio)


def signal_to_noise_db(reference: Sequence[Array], audio: Sequence[Array]) -> float:
    """10 · log10(power of all reference / power of all differences)."""
    signal, noise = np.concatenate(reference), np.concatenate(reference) - np.concatenate(audio)
    powers = [float(np.mean(np.square(x, dtype=np.float64))) + SILENCE for x in (signal, noise)]
    return float(10 * np.log10(powers[0] / powers[1]))
