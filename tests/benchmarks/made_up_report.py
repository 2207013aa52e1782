"""A report that nobody measured, for tests: plausible figures, any of which can be planted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from runtime.profiling.report import (
    Limits,
    Machine,
    Noise,
    Playback,
    PlayedChunk,
    Report,
    Span,
    Stage,
    Subject,
    Summary,
    Timeline,
)

NOISE = 0.01  # half an interval, as a share of its median


def summary(median: float, noise: float = NOISE) -> Summary:
    return Summary(
        count=20,
        mean=median,
        least=median * 0.97,
        p50=median,
        p95=median * 1.05,
        p99=median * 1.06,
        low=median * (1 - noise),
        high=median * (1 + noise),
    )


def stage(
    name: str, median: float, limit: float | None = None, limited_by: str | None = None
) -> Stage:
    return Stage(
        name=name,
        meaning=name,
        seconds=summary(median),
        share=0.5,
        calls_per_run=40,
        limit=limit,
        limited_by=limited_by,
    )


def timeline(chunk_frames: tuple[int, ...] = (10, 20, 40, 80)) -> Timeline:
    chunks = tuple(
        PlayedChunk(
            ready=0.1 * n, due=0.2 * n, late=0, audio_seconds=frames / 80, frames=frames, sentence=0
        )
        for n, frames in enumerate(chunk_frames)
    )
    span = Span(track="language model", name="whole_step", start=0.0, seconds=0.005, thread=1)
    return Timeline(
        seconds=0.5, audio_seconds=2.0, first_audio=0.1, spans=(span,) * 40, chunks=chunks
    )


def subject(**planted: Any) -> Subject:
    """planted: fields, in place of what stands here."""
    fields: dict[str, Any] = {
        "label": "native",
        "engine": "native engine 1.0, avx512, 2 threads",
        "folder": "/home/somebody/engine",
        "bundle_sha256": "0" * 64,
        "kind": "native",
        "run_with": "native",
        "precision": "int8",
        "codec_precision": "bf16",
        "heads": 12,
        "frames_per_step": 4.0,
        "frames_per_second": 80.0,
        "threads": 2,
        "runs": 20,
        "load_seconds": 0.2,
        "resident_bytes": 300e6,
        "peak_bytes": 400e6,
        "step_bytes": 200e6,
        "first_audio": summary(0.25),
        "first_audio_parts": {"prefill": 0.1, "whole_step": 0.1, "codec_chunk": 0.05},
        "real_time_factor": summary(0.4),
        "audio_seconds": 2.0,
        "outside_stages": 0.01,
        "stages": (stage("whole_step", 0.010, 0.008, "memory"), stage("codec_chunk", 0.030)),
        "playback": Playback(runs=20, gaps=None, underruns=0, longest_wait=0.0, spare=None),
        "timeline": timeline(),
    }
    return Subject(**(fields | planted))


def report(*subjects: Subject, **planted: Any) -> Report:
    fields: Mapping[str, Any] = {
        "created": "2026-11-30T12:00:00Z",
        "command": "profile --engine /home/somebody/engine --json profile.json",
        "text": "They know it.",
        "machine": Machine(
            system="Linux-6.1-x86_64",
            processor="AMD EPYC 9654",
            architecture="x86_64",
            processors=2,
            memory_bytes=24 * 2**30,
            features=("avx512f", "avx512_vnni"),
            python="3.11.2",
            packages={"numpy": "2.3.1"},
        ),
        "limits": (Limits(threads=2, read_bytes_per_second=25e9, measured_by="native engine"),),
        "noise": Noise(
            others_share=0.0, stolen_share=0.0, slowest_clock=0.99, throttled=None, warnings=()
        ),
        "subjects": subjects or (subject(),),
    }
    return Report(**{**fields, **planted})


def changed(one: Report, **planted: Any) -> Report:
    """The report with other fields of its only subject."""
    [only] = one.subjects
    return msgspec.structs.replace(one, subjects=(msgspec.structs.replace(only, **planted),))
