"""How fast a bundle speaks: measured, and written as a table.

In: a bundle, a text, and how often to speak it. Out: all figures, as they are written to
JSON: time to first audio, real-time factor (compute time / audio time: below 1 is faster than
speech), percentiles of every stage, memory. The graphs run exactly as they do in
`runtime.speech.synthesis`; the engine reports each call (`runtime.engines.observing`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.errors import UserError
from commands.peak_memory import peak_memory_mb

if TYPE_CHECKING:
    from runtime.speech.synthesis import TTS

DEFAULT_TEXT = "The birds sang in the old garden while the rain fell softly."
PERCENTILES = (50, 95, 99)

_STAGE_MEANINGS = {  # in the order in which they are printed; names are runtime.engines.observing's
    "prefill": "backbone, all positions of the prompt",
    "step": "backbone, one position",
    "head": "codes and next embedding",
    "whole_step": "one step, backbone and head",
    "device_prefill": "GPU time: the prompt, backbone and head",
    "device_step": "GPU time: one step, backbone and head",
    "codec_chunk": "decoder, one chunk of audio",
}


@dataclass(frozen=True)
class SpeedOptions:
    """What is measured, and how often.

    engine: directory of the bundle. runs: how often the text is spoken and measured. warmup: runs
    before them, which do not count. max_steps: at most so many for each sentence. threads: of the
    CPU; None takes the default. look_ahead: as in `ChunkSchedule`.
    """

    engine: str | Path
    text: str = DEFAULT_TEXT
    runs: int = 5
    warmup: int = 1
    run_with: str = "auto"
    threads: int | None = None
    voice: str | None = None
    max_steps: int | None = None
    look_ahead: int | None = None

    def __post_init__(self) -> None:
        if self.runs < 1 or self.warmup < 0:
            raise UserError("--runs takes 1 or more, --warmup 0 or more")


@dataclass
class StageSeconds:
    """An observer that keeps the seconds of every call, by stage."""

    stages: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, stage: str, seconds: float) -> None:
        self.stages[stage].append(seconds)

    def forget(self) -> None:
        """Drop the calls so far."""
        self.stages.clear()

    def total(self) -> float:
        """Seconds of all calls."""
        return sum(map(sum, self.stages.values()))


@dataclass
class Measurements:
    """Figures of the runs; times in seconds."""

    first_audio: list[float] = field(default_factory=list)
    real_time_factor: list[float] = field(default_factory=list)
    audio_seconds: list[float] = field(default_factory=list)
    outside_graphs: list[float] = field(default_factory=list)  # share of a run's time


def measure_speed(options: SpeedOptions) -> dict[str, Any]:
    """Load the bundle, speak the text as often as asked, and return all figures."""
    from runtime.bundle.loading import load_bundle
    from runtime.engines.opening import open_engine
    from runtime.speech.synthesis import TTS

    start = time.perf_counter()
    bundle = load_bundle(options.engine)
    observer, measurements = StageSeconds(), Measurements()
    tts = TTS(bundle, *open_engine(bundle, options.run_with, options.threads, observer))
    load_seconds = time.perf_counter() - start
    for run in range(-options.warmup, options.runs):
        if run == 0:
            observer.forget()
            measurements = Measurements()
        _measure_run(tts, options, measurements, observer, seed=run + options.warmup)
    return _summarize(tts, options, measurements, observer, load_seconds)


def _measure_run(
    tts: TTS, options: SpeedOptions, measurements: Measurements, observer: StageSeconds, seed: int
) -> None:
    """Stream the text once, as a listener would."""
    from runtime.speech.sampling import seeded
    from runtime.speech.schedule import soon_heard

    sampling = seeded(tts.bundle.manifest.sampling, seed)
    inside_before = observer.total()
    samples, first = 0, 0.0
    start = time.perf_counter()
    for chunk in tts.stream(
        options.text,
        voice=options.voice,
        sampling=sampling,
        max_steps=options.max_steps,
        schedule=soon_heard(tts.bundle.manifest.codec, options.look_ahead),
    ):
        samples += len(chunk.audio)
        first = first or time.perf_counter() - start
    elapsed = time.perf_counter() - start
    if not samples:
        raise UserError("the model said nothing for this text; give another with --text")
    measurements.first_audio.append(first)
    measurements.audio_seconds.append(samples / tts.sample_rate)
    measurements.real_time_factor.append(elapsed * tts.sample_rate / samples)
    inside = observer.total() - inside_before
    measurements.outside_graphs.append(1.0 - inside / elapsed)


def _summarize(
    tts: TTS,
    options: SpeedOptions,
    measurements: Measurements,
    observer: StageSeconds,
    load_seconds: float,
) -> dict[str, Any]:
    stages = observer.stages
    return {
        "engine": tts.describe(),
        "engine_dir": str(Path(options.engine)),
        "threads": options.threads,
        "look_ahead": options.look_ahead,
        "text": options.text,
        "runs": options.runs,
        "audio_seconds": sum(measurements.audio_seconds) / options.runs,
        "load_seconds": load_seconds,
        "time_to_first_audio_ms": percentiles(measurements.first_audio, 1e3),
        "real_time_factor": percentiles(measurements.real_time_factor),
        "share_outside_graphs": _share_outside(measurements, observer),
        "stages_ms": {
            name: percentiles(stages[name], 1e3) for name in _STAGE_MEANINGS if name in stages
        },
        "peak_memory_mb": peak_memory_mb(),
    }


def _share_outside(measurements: Measurements, observer: StageSeconds) -> float | None:
    """The share of the time that no graph runs. None if graphs run at the same time: their times do
    not add up."""
    if "device_step" in observer.stages:
        return None
    return sum(measurements.outside_graphs) / len(measurements.outside_graphs)


def percentiles(values: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """count, mean and p50, p95, p99 of `values` times `scale`."""
    import numpy as np

    scaled = np.array(values) * scale
    found = np.percentile(scaled, PERCENTILES)
    named = {f"p{level}": float(value) for level, value in zip(PERCENTILES, found, strict=True)}
    return {"count": len(values), "mean": float(scaled.mean()), **named}


def format_speed(report: Mapping[str, Any]) -> str:
    """The figures as a table for people."""
    memory, outside = report["peak_memory_mb"], report["share_outside_graphs"]
    lines = [
        report["engine"],
        f"{report['runs']} runs of {report['audio_seconds']:.2f} s of audio; "
        f"loaded in {report['load_seconds']:.2f} s; "
        f"peak memory {'unknown' if memory is None else f'{memory:.0f} MiB'}"
        + ("" if outside is None else f"; {100 * outside:.1f} % of the time outside graphs"),
        "",
        f"{'':22}{'p50':>9}{'p95':>9}{'p99':>9}{'mean':>9}{'count':>7}",
        _row("first audio, ms", report["time_to_first_audio_ms"]),
        _row("real-time factor", report["real_time_factor"]),
    ]
    for name, figures in report["stages_ms"].items():
        lines.append(f"{_row(name + ', ms', figures)}  {_STAGE_MEANINGS[name]}")
    return "\n".join(lines)


def _row(name: str, figures: Mapping[str, float]) -> str:
    columns = "".join(f"{figures[key]:>9.3f}" for key in ("p50", "p95", "p99", "mean"))
    return f"{name:22}{columns}{figures['count']:>7.0f}"
