"""How many times faster than another a bundle decodes, on the same sentences at the same time.

In: bundles and sentences. Out: for each bundle medians of the time of its decoding steps, per
second of the audio that they made. In every round each bundle says every sentence, in the order
given or, every other time, in the reverse, so that a machine that slows down slows all of them.
The graphs are timed as in `runtime.profile`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commands.errors import UserError
from runtime.bundle.loading import load_bundle
from runtime.engines.opening import open_engine
from runtime.speech.sampling import seeded
from runtime.speech.synthesis import TTS
from runtime.speed import StageSeconds

DECODING = ("step", "head")  # stages of runtime.profile: without the prompt and the codec


@dataclass(frozen=True)
class Timing:
    """Seconds of computing per second of audio: in decoding steps, and in all."""

    decoding: float
    everything: float


@dataclass(frozen=True)
class Speed:
    """Medians of one bundle; `speed_up` is how many times faster than the first bundle it decodes,
    the median over pairs with the lower and upper quartile."""

    decoding_ms_per_second: float
    real_time_factor: float
    speed_up: float
    quartiles: tuple[float, float]
    pairs: int


class TimedVoice:
    """A bundle that tells how long it computes."""

    def __init__(self, engine: Path, threads: int | None) -> None:
        bundle = load_bundle(engine)
        self._observer = StageSeconds()
        self.tts = TTS(bundle, *open_engine(bundle, threads=threads, observer=self._observer))

    def say(self, text: str, seed: int) -> Timing | None:
        """Speak at the bundle's default sampling; None if no audio came of it."""
        self._observer.forget()
        sampling = seeded(self.tts.bundle.manifest.sampling, seed)
        start = time.perf_counter()
        audio = self.tts.synthesize(text, sampling=sampling).audio
        elapsed = time.perf_counter() - start
        seconds = len(audio) / self.tts.sample_rate
        decoding = sum(sum(self._observer.stages[stage]) for stage in DECODING)
        return Timing(decoding / seconds, elapsed / seconds) if seconds else None


def measure_speeds(
    engines: Mapping[str, Path], sentences: Sequence[str], rounds: int, threads: int | None
) -> dict[str, Speed]:
    """The speed of each bundle; the first is the one that the others are compared with."""
    voices = {name: TimedVoice(folder, threads) for name, folder in engines.items()}
    for voice in voices.values():
        voice.say(sentences[0], seed=0)  # the first call is slower
    timings: dict[str, list[Timing | None]] = defaultdict(list)
    for number in range(rounds):
        order = list(voices) if number % 2 == 0 else list(reversed(voices))
        for seed, text in enumerate(sentences):
            for name in order:
                timings[name].append(voices[name].say(text, seed))
        print(f"\rspeed: {number + 1}/{rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
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
