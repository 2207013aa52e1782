"""A plausible utterance, the same every time, and summaries of figures as a profile makes them.

In: the speed of an engine, and where it hangs. Out: spans and chunks that fit each other.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

from runtime.profiling import report as schema
from runtime.profiling.timeline.buffered_audio import begins

STEP, HEAD, CHUNK = 0.0042, 0.0011, 0.0062  # seconds of one call
FRAMES_PER_SECOND, FRAMES_PER_STEP = 80.0, 2.5


def summarize(values: Sequence[float]) -> schema.Summary:
    ordered = sorted(values)
    median = statistics.median(ordered)

    def quantile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return schema.Summary(
        count=len(ordered),
        mean=statistics.fmean(ordered),
        least=ordered[0],
        p50=median,
        p95=quantile(0.95),
        p99=quantile(0.99),
        low=0.98 * median,
        high=1.03 * median,
    )


def around(middle: float, *, count: int = 60, seed: int = 0) -> schema.Summary:
    noise = random.Random(seed)
    return summarize([middle * noise.lognormvariate(0, 0.06) for _ in range(count)])


def make_timeline(
    speed: float = 1.0, chunks: int = 12, hiccup: int | None = None
) -> schema.Timeline:
    """speed: 2 takes half the time. hiccup: before this chunk the engine hangs."""
    noise = random.Random(7)
    spans: list[schema.Span] = []
    played: list[schema.PlayedChunk] = []
    now = 0.0

    def work(track: str, name: str, seconds: float) -> None:
        nonlocal now
        seconds *= noise.lognormvariate(0, 0.08) / speed
        spans.append(schema.Span(track=track, name=name, start=now, seconds=seconds, thread=4711))
        now += seconds + 40e-6

    work("text", "text", 0.0021)
    work("language model", "prefill", 0.0127)
    due = None
    for number in range(chunks):
        steps = 2 if number == 0 else 8
        for _ in range(steps):
            work("language model", "step", STEP)
            work("language model", "head", HEAD)
        if number == hiccup:
            now += 0.3
        work("codec", "codec_chunk", CHUNK * steps / 2)
        due = now if due is None else due
        frames = round(steps * FRAMES_PER_STEP)
        chunk = schema.PlayedChunk(
            ready=now,
            due=due,
            late=max(0.0, now - due),
            audio_seconds=frames / FRAMES_PER_SECOND,
            frames=frames,
            sentence=0 if number < chunks // 2 else 1,
        )
        played.append(chunk)
        due = begins(chunk) + chunk.audio_seconds
    return schema.Timeline(
        seconds=now,
        audio_seconds=sum(chunk.audio_seconds for chunk in played),
        first_audio=played[0].ready,
        spans=tuple(spans),
        chunks=tuple(played),
    )
