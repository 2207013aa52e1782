"""What the time to first audio consists of.

In: the spans of one utterance, and when its first chunk came. Out: seconds of each part. Every
moment belongs to one part, so the parts add up to the whole: where the language model and the codec
work at the same time, the moment is the language model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from runtime.engines import observing
from runtime.profiling.report import Span
from runtime.profiling.spans import TEXT

PREFILL, STEPS, CODEC, READING, BETWEEN = "prefill", "steps", "codec", "text", "between calls"
MEANINGS = {  # in the order of the work
    READING: "sentences, token ids and the voice",
    PREFILL: "the prompt is read",
    STEPS: "until the frames of the first chunk are there",
    CODEC: "the first chunk is decoded",
    BETWEEN: "what no stage has: noise, embeddings, Python",
}
_PARTS = {
    TEXT: READING,
    observing.PREFILL: PREFILL,
    observing.DEVICE_PREFILL: PREFILL,
    observing.CODEC_CHUNK: CODEC,
    **dict.fromkeys(
        (observing.STEP, observing.HEAD, observing.WHOLE_STEP, observing.DEVICE_STEP), STEPS
    ),
}
_FIRST = (PREFILL, STEPS, CODEC, READING)  # whose moment it is where several are at work


def split_first_audio(spans: Sequence[Span], first_audio: float) -> dict[str, float]:
    """Seconds by part, in the order of `MEANINGS`."""
    seconds = dict.fromkeys(MEANINGS, 0.0)
    clipped = [
        (max(0.0, span.start), min(first_audio, span.start + span.seconds), part_of(span.name))
        for span in spans
    ]
    pieces = [piece for piece in clipped if piece[0] < piece[1]]
    moments = {0.0, first_audio, *(moment for piece in pieces for moment in piece[:2])}
    for begin, end in pairwise(sorted(moments)):
        at_work = {part for start, stop, part in pieces if start <= begin and end <= stop}
        owner = next((part for part in _FIRST if part in at_work), BETWEEN)
        seconds[owner] += end - begin
    return seconds


def part_of(stage: str) -> str:
    """The part that a stage belongs to. Encoders and projections make the voice."""
    return _PARTS.get(stage, READING)
