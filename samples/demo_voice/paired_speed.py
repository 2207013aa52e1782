"""How many times faster one bundle decodes than another, on the same sentences at the same time.

In: bundles and sentences. Out: for each bundle, medians of the time of its decoding steps for each
second of audio. In every round each bundle says every sentence. The order of the bundles alternates
between rounds, so that a machine that slows down slows all of them. The graphs are timed as in
`runtime.profile`.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commands.errors import UserError
from commands.progress import progress
from runtime.bundle.loading import load_bundle
from runtime.engines.opening import open_engine
from runtime.profiling.runs import STEP_STAGES
from runtime.profiling.spans import SpanRecorder
from runtime.speech.sampling import seeded
from runtime.speech.synthesis import TTS


@dataclass(frozen=True)
class Timing:
    """Seconds of computing for each second of audio: in decoding steps, and in total."""

    decoding: float
    everything: float


@dataclass(frozen=True)
class Speed:
    """Medians of one bundle. `speed_up`: how many times faster it decodes than the first bundle,
    the median over pairs, with the lower and upper quartile."""

    decoding_ms_per_second: float
    real_time_factor: float
    speed_up: float
    quartiles: tuple[float, float]
    pairs: int


class TimedVoice:
    """A bundle whose computing time is measured."""

    def __init__(self, engine: Path, threads: int | None) -> None:
        bundle = load_bundle(engine)
        self._observer = SpanRecorder()
        self.tts = TTS(bundle, *open_engine(bundle, threads=threads, observer=self._observer))

    def say(self, text: str, seed: int) -> Timing | None:
        """Speak at the bundle's default sampling; None if there was no audio."""
        self._observer.begin()
        sampling = seeded(self.tts.bundle.manifest.sampling, seed)
        start = time.perf_counter()
        audio = self.tts.synthesize(text, sampling=sampling).audio
        elapsed = time.perf_counter() - start
        seconds = len(audio) / self.tts.sample_rate
        decoding = sum(span.seconds for span in self._observer.spans if span.name in STEP_STAGES)
        return Timing(decoding / seconds, elapsed / seconds) if seconds else None


def measure_speeds(
    engines: Mapping[str, Path],
    sentences: Sequence[str],
    rounds: int,
    threads: int | None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Speed]:
    """The speed of each bundle; the others are compared with the first. `check` is called after
    each round."""
    voices = {name: TimedVoice(folder, threads) for name, folder in engines.items()}
    for voice in voices.values():
        voice.say(sentences[0], seed=0)  # the first call is slower
    timings: dict[str, list[Timing | None]] = defaultdict(list)
    with progress("time rounds", rounds, to_stderr=True) as stage:
        for number in stage.track(range(rounds)):
            order = list(voices) if number % 2 == 0 else list(reversed(voices))
            for seed, text in enumerate(sentences):
                for name in order:
                    timings[name].append(voices[name].say(text, seed))
            check()
    first = timings[next(iter(engines))]
    return {name: summarise_timings(name, first, timings[name]) for name in engines}


def summarise_timings(
    name: str, first: Sequence[Timing | None], own: Sequence[Timing | None]
) -> Speed:
    """Medians, and ratios of pairs. Raises `UserError` if there is no pair with audio."""
    pairs = [(a, b) for a, b in zip(first, own, strict=True) if a is not None and b is not None]
    if not pairs:
        raise UserError(
            f"{name}: it, or the first model, said nothing; there is no speed to compare"
        )
    ratios = np.array([a.decoding / b.decoding for a, b in pairs])
    low, middle, high = np.percentile(ratios, (25, 50, 75)).tolist()
    return Speed(
        decoding_ms_per_second=1000 * statistics.median(b.decoding for _, b in pairs),
        real_time_factor=statistics.median(b.everything for _, b in pairs),
        speed_up=middle,
        quartiles=(low, high),
        pairs=len(pairs),
    )
