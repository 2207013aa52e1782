"""A bundle under measurement: loaded with a recorder, run, and described.

In: a bundle's directory and what runs it. Out: runs and times of steps; and of all of them together
a `Subject` of the report.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from commands.peak_memory import MIB, peak_memory_mb
from runtime.bundle import names
from runtime.engines import observing
from runtime.profiling.costs import Cost, stage_costs
from runtime.profiling.first_audio import split_first_audio
from runtime.profiling.machine.memory import resident_bytes
from runtime.profiling.playback import summarize_playback
from runtime.profiling.report import Layer, Limits, Point, Stage, Subject, Timeline
from runtime.profiling.runs import Run, Spoken, speak_once
from runtime.profiling.spans import TEXT, SpanRecorder, seconds_by_stage
from runtime.profiling.statistics import summarize

if TYPE_CHECKING:
    from typing_extensions import Self

    from runtime.speech.schedule import ChunkSchedule
    from runtime.speech.synthesis import TTS

MEANINGS = {  # in the order in which they are shown
    TEXT: "sentences, token ids and the voice",
    observing.PREFILL: "backbone, all positions of the prompt",
    observing.STEP: "backbone, one position",
    observing.HEAD: "codes and next embedding",
    observing.WHOLE_STEP: "one step, backbone and heads",
    observing.DEVICE_PREFILL: "GPU time: the prompt, backbone and heads",
    observing.DEVICE_STEP: "GPU time: one step, backbone and heads",
    observing.CODEC_CHUNK: "decoder, one chunk of audio",
}
_ON_GPU = (observing.DEVICE_PREFILL, observing.DEVICE_STEP)  # run while the host does other things


@dataclass(frozen=True)
class Loaded:
    """label: tells it from others. asked_for: a number of threads, None for the default. threads:
    that the engine works with."""

    label: str
    tts: TTS
    recorder: SpanRecorder
    spoken: Spoken
    run_with: str
    asked_for: int | None
    threads: int
    load_seconds: float

    @classmethod
    def open(
        cls, label: str, engine: str | Path, run_with: str, threads: int | None, spoken: Spoken
    ) -> Self:
        """Load it. Raises `UserError` as `TTS.load` and `TTS.stream` do."""
        from runtime.bundle.loading import load_bundle
        from runtime.engines.opening import open_engine
        from runtime.speech.synthesis import TTS

        start = time.perf_counter()
        bundle = load_bundle(engine)
        recorder = SpanRecorder()
        tts = TTS(bundle, *open_engine(bundle, run_with, threads, recorder))
        seconds = time.perf_counter() - start
        used = _count_threads(tts, threads)
        loaded = cls(label, tts, recorder, spoken, run_with, threads, used, seconds)
        loaded.prompt_positions()  # refuses a text or voice before anything is measured
        return loaded

    @property
    def is_on_gpu(self) -> bool:
        return self.tts.bundle.manifest.engine.kind in names.GPU_TARGETS

    @property
    def gpu(self) -> str | None:
        """Its name, if the engine uses one."""
        if not self.is_on_gpu:
            return None
        from runtime.engines.tensorrt.this_gpu import require_gpu

        return require_gpu().name

    def speak(self, schedule: ChunkSchedule, seed: int) -> Run:
        """Stream the text once, as a listener would."""
        return speak_once(self.tts, self.recorder, self.spoken, schedule, seed)

    def time_steps(self, context: int, rows: int, count: int) -> list[float]:
        """Seconds of each of `count` steps of all rows together, after random prompts of `context`
        positions.

        Raises:
            UserError: more rows than the engine takes, or more positions than the model has.
        """
        from runtime.engines.rows import Request
        from runtime.speech.sampling import Sampling

        manifest = self.tts.bundle.manifest
        settings = Sampling(do_sample=False).resolve(manifest.sampling)
        shape = (1, context, manifest.language_model.hidden_size)
        prompt = 0.02 * np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        times: list[float] = []
        while len(times) < count:
            with self.tts.decoder.open_rows(rows) as loop:
                for row in range(rows):
                    loop.add(Request(prompt, settings, np.random.default_rng(row), count + 1))
                loop.step()
                while len(loop.rows) == rows and len(times) < count:
                    start = time.perf_counter()
                    loop.step()
                    times.append(time.perf_counter() - start)
        return times

    def prompt_positions(self) -> float:
        """Of a sentence, mean."""
        from runtime.speech.reading import read_text

        prompts = self.tts.prompts
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # speaking warns, too
            speaker = self.tts.speaker(self.spoken.voice)
            sentences = read_text(self.spoken.text, prompts, strict=False)
        return fmean(prompts.embed(sentence, speaker).shape[1] for sentence in sentences)


def _count_threads(tts: TTS, asked_for: int | None) -> int:
    """How many threads the engine works with."""
    if tts.bundle.manifest.engine.kind == names.NATIVE:
        from runtime.engines.native.graphs import NativeGraph

        assert isinstance(tts.backbone, NativeGraph)
        return int(tts.backbone.model.facts.threads)
    from runtime.engines.onnxruntime.threads import choose_threads, usable_processors

    return choose_threads(asked_for).large or len(usable_processors())


def describe_subject(
    loaded: Loaded,
    runs: Sequence[Run],
    points: Sequence[Point],
    limits: Limits,
    layers: Sequence[Layer] = (),
    look_ahead: int | None = None,
) -> Subject:
    """All that was measured of one bundle. look_ahead: as in `ChunkSchedule`."""
    bundle = loaded.tts.bundle
    manifest = bundle.manifest
    costs = stage_costs(loaded.tts, loaded.prompt_positions(), _chunk_frames(runs))
    typical = sorted(runs, key=lambda run: run.first_audio)[(len(runs) - 1) // 2]
    step_bytes = costs[observing.WHOLE_STEP].read_bytes
    peak = peak_memory_mb()
    return Subject(
        label=loaded.label,
        engine=loaded.tts.describe(),
        folder=bundle.folder.name,
        bundle_sha256=hashlib.sha256(
            (bundle.folder / names.MANIFEST_FILE).read_bytes()
        ).hexdigest(),
        kind=manifest.engine.kind,
        run_with=loaded.run_with,
        precision=manifest.graphs[names.BACKBONE].precision,
        codec_precision=manifest.graphs[names.CODEC_DECODER].precision,
        heads=manifest.language_model.heads,
        frames_per_step=manifest.frames_per_step,
        frames_per_second=manifest.codec.frames_per_second,
        threads=loaded.threads,
        look_ahead=look_ahead,
        runs=len(runs),
        load_seconds=loaded.load_seconds,
        resident_bytes=resident_bytes(),
        peak_bytes=None if peak is None else peak * MIB,
        step_bytes=step_bytes,
        first_audio=summarize([run.first_audio for run in runs]),
        first_audio_parts=split_first_audio(typical.spans, typical.first_audio),
        real_time_factor=summarize([run.real_time_factor for run in runs]),
        audio_seconds=fmean(run.audio_seconds for run in runs),
        outside_stages=_share_outside(runs),
        stages=tuple(_describe_stages(runs, costs, limits)),
        playback=summarize_playback([run.chunks for run in runs]),
        timeline=Timeline(
            seconds=typical.seconds,
            audio_seconds=typical.audio_seconds,
            first_audio=typical.first_audio,
            spans=typical.spans,
            chunks=typical.chunks,
        ),
        contexts=tuple(point for point in points if point.rows == 1),
        rows=tuple(point for point in points if point.rows > 1),
        layers=tuple(layers),
    )


def _chunk_frames(runs: Sequence[Run]) -> float:
    """Of a mean call of the codec."""
    frames = sum(chunk.frames for run in runs for chunk in run.chunks)
    return frames / max(1, sum(run.calls_of(observing.CODEC_CHUNK) for run in runs))


def _describe_stages(
    runs: Sequence[Run], costs: Mapping[str, Cost], limits: Limits
) -> Iterator[Stage]:
    whole = sum(run.seconds for run in runs)
    found = seconds_by_stage([span for run in runs for span in run.spans])
    for name in [*MEANINGS, *sorted(found.keys() - MEANINGS.keys())]:
        if name not in found:
            continue
        cost = costs.get(name)
        bound = None if cost is None else cost.limit(limits)
        yield Stage(
            name=name,
            meaning=MEANINGS.get(name, "another part of the model"),
            seconds=summarize(found[name]),
            share=sum(found[name]) / whole,
            calls_per_run=len(found[name]) / len(runs),
            read_bytes=None if cost is None else cost.read_bytes,
            macs=None if cost is None else cost.macs,
            number_format=None if cost is None else cost.number_format,
            limit=None if bound is None else bound[0],
            limited_by=None if bound is None else bound[1],
        )


def _share_outside(runs: Sequence[Run]) -> float | None:
    """The share of the time in which no stage ran. None if stages run at the same time, because
    their times do not add up."""
    if any(span.name in _ON_GPU for run in runs for span in run.spans):
        return None
    inside = sum(span.seconds for run in runs for span in run.spans)
    return 1.0 - inside / sum(run.seconds for run in runs)
