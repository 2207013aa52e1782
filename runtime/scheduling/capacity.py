"""How many streams an engine keeps in real time, measured on this machine at the start.

In: a loaded bundle. Out: `Capacity`: what steps, codec and prompts cost, and the limits of a
scheduler that follow. Measuring takes up to `SECONDS`; all else is arithmetic. Numbers of rows that
there was no time for are estimated as if steps got no cheaper by being shared.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.engines.rows import Request, RowLoop
from runtime.scheduling.limits import SchedulerLimits
from runtime.speech.codec import DecoderStream
from runtime.speech.decoding import bound_steps
from runtime.speech.sampling import seeded
from runtime.speech.schedule import soon_heard
from runtime.speech.synthesis import TTS

SECONDS = 2.5  # that measuring takes at most, apart from the call under way
MARGIN = 0.8  # of the machine's time that streams may take
STALL_SECONDS = 0.04  # that reading prompts holds up the others; a first chunk plays for longer
LEAST_POSITIONS = 16  # fewer at once cost nearly as much
SENTENCE_SECONDS = 3.0  # of audio that one prompt brings
MOST_STREAMS = 64
LEAST_WAITING = 4
CODEC_SECONDS = 2.0  # of audio that the codec is timed with
CODEC_PATIENCE, MOST_CODEC_RUNS = 0.4, 5  # seconds; the quickest run counts
STEPS = 6  # that are timed for each number of rows
TEXT = "The rain fell softly on the old garden, and the birds sang."


@dataclass(frozen=True)
class Capacity:
    """step_seconds: of a step of so many rows, measured; it has at least one entry. audio_a_step:
    seconds of audio that a step brings to each row. codec_seconds: for a second of audio.
    prompt_seconds, prompt_positions: of one prompt. most: rows that the engine takes."""

    step_seconds: dict[int, float]
    audio_a_step: float
    codec_seconds: float
    prompt_seconds: float
    prompt_positions: int
    most: int

    @property
    def streams(self) -> int:
        """How many stay in real time, with a margin; at least one."""
        counts = range(1, self.most + 1)
        return max((n for n in counts if self.load(n) <= MARGIN), default=1)

    def load(self, streams: int) -> float:
        """Seconds that the engine takes for a second of audio of each of so many streams."""
        steps = self.step_time(streams) / self.audio_a_step
        return steps + streams * (self.codec_seconds + self.prompt_seconds / SENTENCE_SECONDS)

    def step_time(self, rows: int) -> float:
        """Seconds of a step: measured, between two that were, or in proportion beyond them."""
        counts = sorted(self.step_seconds)
        if rows > counts[-1]:
            return self.step_seconds[counts[-1]] * rows / counts[-1]
        return float(np.interp(rows, counts, [self.step_seconds[count] for count in counts]))

    def limits(self, streams: int | None = None, waiting: int | None = None) -> SchedulerLimits:
        """streams: at a time, instead of those that were found. waiting: by default as many as are
        spoken."""
        rows = self.streams if streams is None else streams
        if not 1 <= rows <= self.most:
            raise UserError(f"{rows} streams at a time; this engine takes 1 to {self.most}")
        a_position = self.prompt_seconds / self.prompt_positions
        positions = max(LEAST_POSITIONS, int(STALL_SECONDS / a_position))
        loads = tuple(self.load(count) for count in range(1, rows + 1))
        waiting = max(LEAST_WAITING, rows) if waiting is None else waiting
        return SchedulerLimits(rows, waiting, prompt_positions=positions, loads=loads)

    def describe(self) -> str:
        """One line for people."""
        count, alone = self.streams, self.load(1)
        streams = f"{count} stream{'s' * (count > 1)} in real time"
        if alone > MARGIN:
            streams = f"not safely in real time: one stream takes {alone:.0%} of it"
        return (
            f"capacity: {streams} (a step of {count} row{'s' * (count > 1)} takes "
            f"{1e3 * self.step_time(count):.1f} ms and brings {1e3 * self.audio_a_step:.0f} ms of "
            f"audio, the codec takes {1e3 * self.codec_seconds:.0f} ms a second, "
            f"a prompt {1e3 * self.prompt_seconds:.0f} ms; {1 - MARGIN:.0%} are kept free)"
        )


def measure_capacity(tts: TTS, seconds: float = SECONDS) -> Capacity:
    """Time the engine while nothing else uses it.

    Raises:
        UserError: a model that stops at its first step.
    """
    end = time.monotonic() + seconds
    manifest = tts.bundle.manifest
    most = min(tts.decoder.rows, MOST_STREAMS)
    codec_seconds = _time_codec(tts)
    prompt = _prompt(tts)
    with tts.decoder.open_rows(most) as loop:
        first, times = _time_steps(tts, loop, prompt, end)
    if not times:
        raise UserError("the model stops at its first step, so its speed cannot be measured")
    step_seconds = {rows: statistics.median(of_rows) for rows, of_rows in times.items()}
    return Capacity(
        step_seconds=step_seconds,
        audio_a_step=manifest.frames_per_step / manifest.codec.frames_per_second,
        codec_seconds=codec_seconds,
        prompt_seconds=max(1e-9, first - step_seconds[min(step_seconds)]),
        prompt_positions=prompt.shape[1],
        most=most,
    )


def fixed_speaker(tts: TTS) -> NDArray[np.float32]:
    """An embedding for timing, which does not depend on the voice: bundles may have none."""
    return np.full(tts.bundle.manifest.codec.speaker_channels, 0.05, np.float32)


def _prompt(tts: TTS) -> NDArray[np.float32]:
    return tts.prompts.embed(tts.prompts.read(TEXT), fixed_speaker(tts))


def _time_steps(
    tts: TTS, loop: RowLoop, prompt: NDArray[np.float32], end: float
) -> tuple[float, dict[int, list[float]]]:
    """Seconds of a step that reads one prompt; and of steps by their number of rows, which is
    doubled until the time is used up. Rows may end by themselves: a step counts for those live."""
    times: defaultdict[int, list[float]] = defaultdict(list)
    seeds = itertools.count()
    joined: list[float] = []  # seconds of steps that read prompts, for each prompt
    rows = 1
    for _ in range(2):  # the first prompt is slower
        joined.append(_join(tts, loop, prompt, 1, seeds))
    first = joined[-1]
    while rows <= loop.room:
        _join(tts, loop, prompt, rows, seeds)
        for _ in range(STEPS):
            if not (live := len(loop.rows)):
                break
            start = time.perf_counter()
            loop.step()
            times[live].append(time.perf_counter() - start)
        rows *= 2
        if time.monotonic() + rows / 2 * first > end:
            break
    return first, times


def _join(
    tts: TTS, loop: RowLoop, prompt: NDArray[np.float32], rows: int, seeds: itertools.count[int]
) -> float:
    """Fill the loop up to so many rows, and let them take their first step; its seconds."""
    if rows == 1:
        for row in loop.rows:
            loop.remove(row)
    while len(loop.rows) < rows:
        loop.add(_request(tts, prompt, next(seeds)))
    start = time.perf_counter()
    loop.step()
    return time.perf_counter() - start


def _request(tts: TTS, prompt: NDArray[np.float32], seed: int) -> Request:
    manifest = tts.bundle.manifest
    sampling = seeded(manifest.sampling, seed)
    steps = bound_steps(manifest, len(TEXT), prompt.shape[1])
    settings = sampling.resolve(manifest.sampling)
    return Request(prompt, settings, sampling.random_generator(0), steps)


def _time_codec(tts: TTS) -> float:
    """Seconds for a second of audio in chunks that are soon heard."""
    spec = tts.codec.spec
    count = max(1, round(CODEC_SECONDS * spec.frames_per_second))
    random = np.random.default_rng(0)
    frames = np.stack([random.integers(0, size, count) for size in spec.streams], axis=1)
    times: list[float] = []
    end = time.perf_counter() + CODEC_PATIENCE
    while len(times) < 2 or (len(times) < MOST_CODEC_RUNS and time.perf_counter() < end):
        stream = DecoderStream(tts.codec, fixed_speaker(tts), soon_heard(spec))
        start = time.perf_counter()
        stream.add(frames)
        for _ in itertools.chain(stream.ready(), stream.finish()):
            pass
        times.append(time.perf_counter() - start)
    return min(times) * spec.frames_per_second / count  # the first is slower
