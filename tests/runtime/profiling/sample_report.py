"""A plausible report, the same every time: one subject with all figures, one with as few as may be.

In: nothing. Out: a `Report`. Its times come from a small model of an engine, so that spans, chunks
and summaries fit each other: a prompt, steps of the language model, chunks of the codec in turn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from runtime.profiling import report as schema
from tests.runtime.profiling.sample_timeline import (
    CHUNK,
    FRAMES_PER_SECOND,
    FRAMES_PER_STEP,
    STEP,
    around,
    make_timeline,
    summarize,
)

FULL, SPARSE = "demo int8", "demo fp32"
BASE_MACS = 9.5e6  # of a step


def make_stages(timeline: schema.Timeline, meanings: dict[str, str]) -> tuple[schema.Stage, ...]:
    return tuple(
        schema.Stage(
            name=name,
            meaning=meaning,
            seconds=summarize(times),
            share=sum(times) / timeline.seconds,
            calls_per_run=len(times),
            **COSTS.get(name, {}),  # type: ignore[arg-type]
        )
        for name, meaning in meanings.items()
        if (times := [span.seconds for span in timeline.spans if span.name == name])
    )


MEANINGS = {
    "prefill": "backbone, all positions of the prompt",
    "step": "backbone, one position",
    "head": "codes and next embedding",
    "codec_chunk": "decoder, one chunk of audio",
}
COSTS: dict[str, dict[str, float | str]] = {
    "prefill": {"macs": 32 * BASE_MACS, "read_bytes": 9.9e6, "number_format": "int8"},
    "step": {
        "macs": BASE_MACS,
        "read_bytes": 9.9e6,
        "number_format": "int8",
        "limit": 0.0033,
        "limited_by": "memory",
    },
    "head": {
        "macs": 1.1e6,
        "read_bytes": 1.2e6,
        "number_format": "int8",
        "limit": 0.0004,
        "limited_by": "memory",
    },
    "codec_chunk": {
        "macs": 150e6,
        "read_bytes": 6e6,
        "number_format": "fp32",
        "limit": 0.0071,
        "limited_by": "products",
    },
}


def make_layers() -> tuple[schema.Layer, ...]:
    noise = random.Random(3)
    parts = {"qkv": 0.21, "attention": 0.09, "output": 0.13, "mlp": 0.5, "norm": 0.02}
    backbone = [
        schema.Layer(
            stage="step",
            layer=str(layer),
            part=part,
            seconds=share * STEP / 8 * noise.lognormvariate(0, 0.1),
            calls=2 if part == "norm" else 1,
        )
        for layer in range(8)
        for part, share in parts.items()
    ]
    codec = [
        schema.Layer(
            stage="codec_chunk",
            layer=f"stage {layer}",
            part=part,
            seconds=share * CHUNK * weight,
            calls=3,
        )
        for layer, weight in enumerate((0.1, 0.2, 0.3, 0.4), 1)
        for part, share in (("convolution", 0.7), ("activation", 0.25))
    ]
    return (*backbone, *codec)


def make_points(contexts: Sequence[int], rows: Sequence[int]) -> tuple[schema.Point, ...]:
    return tuple(
        schema.Point(
            context=context,
            rows=row,
            seconds=around(STEP * (1 + context / 4000) * (0.7 + 0.3 * row), seed=context + row),
        )
        for context in contexts
        for row in rows
    )


def make_full_subject() -> schema.Subject:
    timeline = make_timeline(hiccup=2)
    first = around(timeline.first_audio, seed=1)
    shares = {"text": 0.066, "prefill": 0.4, "step": 0.265, "head": 0.068, "codec_chunk": 0.195}
    parts = {name: share * first.p50 for name, share in shares.items()}
    parts["between the stages"] = first.p50 - sum(parts.values())
    return schema.Subject(
        label=FULL,
        engine="demo-int8: 6 heads, int8, native engine 0.1, avx512vnni, 1 thread",
        folder="build/demo-int8",
        bundle_sha256="0f" * 32,
        kind="native",
        run_with="native",
        precision="int8",
        codec_precision="fp32",
        heads=6,
        frames_per_step=FRAMES_PER_STEP,
        frames_per_second=FRAMES_PER_SECOND,
        threads=1,
        runs=60,
        load_seconds=0.041,
        resident_bytes=61e6,
        peak_bytes=74e6,
        step_bytes=11.1e6,
        first_audio=first,
        first_audio_parts=parts,
        real_time_factor=around(timeline.seconds / timeline.audio_seconds, seed=2),
        audio_seconds=timeline.audio_seconds,
        outside_stages=1 - sum(span.seconds for span in timeline.spans) / timeline.seconds,
        stages=make_stages(timeline, MEANINGS),
        playback=schema.Playback(
            runs=60,
            gaps=around(0.08, seed=3),
            underruns=2,
            longest_wait=max(chunk.late for chunk in timeline.chunks),
            spare=around(0.02, seed=4),
        ),
        timeline=timeline,
        contexts=make_points((32, 128, 512, 2048), (1,)),
        rows=make_points((256,), (1, 2, 4, 8, 16)),
        layers=make_layers(),
    )


def make_sparse_subject() -> schema.Subject:
    """Nothing that may be missing is there, and one stage that no other subject has."""
    timeline = make_timeline(speed=0.6, chunks=1)
    meanings = {"prefill": MEANINGS["prefill"], "step": MEANINGS["step"], "head": "codes"}
    return schema.Subject(
        label=SPARSE,
        engine="demo-fp32: 6 heads, fp32, ONNX Runtime 1.23 on the CPU, 2 threads",
        folder="build/demo-fp32",
        bundle_sha256="a1" * 32,
        kind="onnxruntime",
        run_with="auto",
        precision="fp32",
        codec_precision="fp32",
        heads=6,
        frames_per_step=FRAMES_PER_STEP,
        frames_per_second=FRAMES_PER_SECOND,
        threads=2,
        runs=1,
        load_seconds=0.31,
        resident_bytes=None,
        peak_bytes=None,
        step_bytes=None,
        first_audio=around(timeline.first_audio, count=1),
        first_audio_parts={
            "text": 0.1 * timeline.first_audio,
            "prefill": 0.9 * timeline.first_audio,
        },
        real_time_factor=around(1.21, count=1),
        audio_seconds=timeline.audio_seconds,
        outside_stages=None,
        stages=tuple(_without_costs(stage) for stage in make_stages(timeline, meanings)),
        playback=schema.Playback(runs=1, gaps=None, underruns=0, longest_wait=0.0, spare=None),
        timeline=timeline,
    )


def _without_costs(stage: schema.Stage) -> schema.Stage:
    return schema.Stage(
        name=stage.name,
        meaning=stage.meaning,
        seconds=stage.seconds,
        share=stage.share,
        calls_per_run=stage.calls_per_run,
    )


def make_sample_report() -> schema.Report:
    """Both subjects, a noisy machine, and limits for one of the two numbers of threads."""
    return schema.Report(
        created="2026-01-31T12:00:00Z",
        command="python -m runtime.profile --engine build/demo-int8 --against build/demo-fp32",
        text="The birds sang in the old garden while the rain fell softly.",
        machine=schema.Machine(
            system="Linux-6.1-x86_64",
            processor="Sample processor, 2 cores",
            architecture="x86_64",
            processors=2,
            memory_bytes=8 * 1024**3,
            features=("avx2", "avx512_vnni"),
            python="3.11.7",
            packages={"numpy": "2.3.0", "slm-deploy": "0.1.0"},
        ),
        limits=(
            schema.Limits(
                threads=1,
                read_bytes_per_second=11.2e9,
                fp32_macs_per_second=41e9,
                bf16_macs_per_second=None,
                int8_macs_per_second=160e9,
                measured_by="native engine",
            ),
            schema.Limits(threads=2, measured_by="numpy"),
        ),
        noise=schema.Noise(
            others_share=0.31,
            stolen_share=0.002,
            slowest_clock=0.91,
            throttled=None,
            busiest_others=("python (pid 123): 62 % of a processor",),
            warnings=("Other programs took 31 % of the processors' time: measure again.",),
        ),
        subjects=(make_full_subject(), make_sparse_subject()),
        comparisons=(
            compare("real-time factor", 0.31, 0.29, 0.33),
            compare("first audio", 0.62, 0.57, 0.68),
            compare("step", 1.01, 0.98, 1.05),
        ),
    )


def compare(figure: str, ratio: float, low: float, high: float) -> schema.Comparison:
    return schema.Comparison(
        figure=figure,
        baseline=FULL,
        other=SPARSE,
        ratio=ratio,
        low=low,
        high=high,
        sentence=f"{figure}: {SPARSE} takes {1 / ratio:.2f} times as long as {FULL}.",
    )
