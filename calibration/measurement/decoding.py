"""A codec's decoder led through whole utterances, at any precision.

In: a loaded decoder graph, and frames with their speakers. Out: their audio, whole and in time, and
how far it is from another engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from calibration.measurement.utterances import Utterance
from commands.errors import UserError
from export.graph.runner import Arrays, GraphRunner
from formats.weights import Array
from runtime.bundle.names import AUDIO, CODEC_FRAMES, PAST_FRAMES, SPEAKER, UTTERANCE_FRAMES

CALL_FRAMES = 160  # of one call: 2 s
SILENCE = 1e-12  # keeps a ratio finite

Watch = Callable[[Arrays], None]  # takes watched values by name


def follow_decoder(
    decoder: GraphRunner, utterance: Utterance, delay_frames: int, watch: Watch | None = None
) -> Array:
    """Audio float32 (frames · hop) of the utterance; none of an utterance without frames.

    delay_frames: of the graph. As many frames of anything follow the last one, as in an engine.
    watch: called with the values that the graph was loaded with `watched` for.
    """
    decoder.reset()
    count = len(utterance.frames)
    if not count:
        return np.zeros(0, np.float32)
    frames = np.pad(utterance.frames, [(0, delay_frames), (0, 0)])[None]
    audio = []
    for start in range(0, count + delay_frames, CALL_FRAMES):
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
    whole = np.concatenate(audio)
    return whole[delay_frames * (len(whole) // (count + delay_frames)) :]


def signal_to_noise_db(reference: Sequence[Array], audio: Sequence[Array]) -> float:
    """10 · log10(power of all reference / power of all differences).

    Raises:
        UserError: nothing was said.
    """
    if not sum(map(len, reference)):
        raise UserError("the held-out sentences have no speech at all; give other texts")
    signal, noise = np.concatenate(reference), np.concatenate(reference) - np.concatenate(audio)
    powers = [float(np.mean(np.square(x, dtype=np.float64))) + SILENCE for x in (signal, noise)]
    return float(10 * np.log10(powers[0] / powers[1]))
