"""A codec's decoder run on whole utterances, at any precision.

In: a loaded decoder graph, and frames with their speakers. Out: the complete audio, without the
decoder's delay.
"""

from __future__ import annotations

import numpy as np

from calibration.measurement.following import Watch
from calibration.measurement.utterances import EmbeddedUtterance
from export.graph.runner import GraphRunner
from formats.weights import Array
from runtime.bundle.names import AUDIO, CODEC_FRAMES, PAST_FRAMES, SPEAKER, UTTERANCE_FRAMES

CALL_FRAMES = 160  # of one call: 2 s


def follow_decoder(
    decoder: GraphRunner,
    utterance: EmbeddedUtterance,
    delay_frames: int,
    watch: Watch | None = None,
) -> Array:
    """Audio float32 (frames · hop) of the utterance; empty if the utterance has no frames.

    delay_frames: how late the graph's audio is. As in the runtime, that many frames of any codes
    follow the last one, so that all of its audio comes out.
    watch: called with the values that the graph was loaded to watch.
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
