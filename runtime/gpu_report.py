"""What a bundle does on this machine's GPU, compared with the CPU: measured, and written as text.

In: a bundle of plans, and a bundle of the same model for the CPU. Out: a report, by section:
machine and versions; whether the GPU speaks the frames that the CPU speaks, and how closely its
codec follows; the time of every stage, and the least time that the memory's bandwidth allows for a
step.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from commands.errors import UserError
from runtime.bundle import names
from runtime.engines.graph import state_bytes
from runtime.engines.observing import DEVICE_STEP
from runtime.engines.tensorrt.this_gpu import require_gpu
from runtime.profiling.measuring import ProfileOptions, measure
from runtime.profiling.report import Report
from runtime.profiling.text import format_report as format_profile
from runtime.speech.sampling import Sampling
from runtime.speech.spoken import Utterance
from runtime.speech.synthesis import TTS

SENTENCES = (
    "The birds sang in the old garden while the rain fell softly.",
    "They know it.",
    "A small boat came slowly around the island before the sun went down.",
)
MAX_STEPS = 400
WARMUP_RUNS = 2
# How often a step moves its caches. Portable: half is there to be read. Basic, as its graph is
# written: each is read, written and read for attention, and keys once more as float32.
CACHE_MOVES = {names.PORTABLE: 0.5, names.BASIC: 4.0}
PACKAGES = (
    *("numpy", "onnxruntime", "onnxruntime-gpu", "cuda-bindings", "slm-deploy"),
    *("tensorrt", "tensorrt-rtx-cu13"),
)


@dataclass(frozen=True)
class Parity:
    """One sentence on both engines.

    first_difference: the first frame that differs; None if all frames are the same. codec_snr_db:
    the GPU's audio against the CPU's for the same frames; None if they are identical.
    """

    text: str
    sampling: str
    cpu_frames: int
    gpu_frames: int
    first_difference: int | None
    codec_snr_db: float | None


def make_report(
    engine: Path, reference: Path, runs: int, cpu_threads: int | None
) -> dict[str, Any]:
    """The report, by section. engine: the bundle of plans. reference: the one for the CPU.

    Raises:
        UserError: no GPU, no bundle, or bundles of different models.
    """
    gpu = require_gpu()  # first: without a GPU nothing else matters
    on_gpu = TTS.load(engine)
    on_cpu = TTS.load(reference, threads=cpu_threads)
    check_same_model(on_cpu, on_gpu)
    plans = on_gpu.bundle.manifest.engine.plans
    return {
        "machine": {"gpu": asdict(gpu), "platform": platform.platform(), "versions": versions()},
        "engine": on_gpu.describe(),
        "reference": on_cpu.describe(),
        "plans": None if plans is None else msgspec.to_builtins(plans),
        "parity": [asdict(parity) for parity in compare_speech(on_cpu, on_gpu)],
        "floor": step_floor(on_gpu),
        "profile": msgspec.to_builtins(
            measure(ProfileOptions((engine,), runs=runs, warmup=WARMUP_RUNS, max_steps=MAX_STEPS))
        ),
    }


def check_same_model(on_cpu: TTS, on_gpu: TTS) -> None:
    """Raises `UserError` if the bundles hold different models, which cannot be compared."""
    models = [tts.bundle.manifest.language_model for tts in (on_cpu, on_gpu)]
    for field in ("kind", "heads", "head_kind", "hidden_size", "layers"):
        ours, theirs = (getattr(model, field) for model in models)
        if ours != theirs:
            raise UserError(
                f"{on_cpu.bundle.folder}: its model has {field} {ours}, "
                f"{on_gpu.bundle.folder} has {theirs}; name the same model's bundle"
            )


def compare_speech(on_cpu: TTS, on_gpu: TTS) -> list[Parity]:
    """Compare every sentence, greedily and with a seed."""
    settings = {"greedy": Sampling(do_sample=False), "seed 1": Sampling(seed=1)}
    if not on_cpu.bundle.manifest.sampling.do_sample:
        del settings["seed 1"]
    compared = []
    for text in SENTENCES:
        for name, sampling in settings.items():
            compared.append(_compare_sentence(on_cpu, on_gpu, text, name, sampling))
    return compared


def _compare_sentence(on_cpu: TTS, on_gpu: TTS, text: str, name: str, sampling: Sampling) -> Parity:
    expected = on_cpu.synthesize(text, sampling=sampling, max_steps=MAX_STEPS)
    found = on_gpu.synthesize(text, sampling=sampling, max_steps=MAX_STEPS)
    speaker = on_cpu.speaker()
    return Parity(
        text=text,
        sampling=name,
        cpu_frames=len(expected.frames),
        gpu_frames=len(found.frames),
        first_difference=first_difference(expected, found),
        codec_snr_db=snr_db(*(tts.decode(expected.frames, speaker) for tts in (on_cpu, on_gpu))),
    )


def first_difference(expected: Utterance, found: Utterance) -> int | None:
    """The first frame that differs; None if all are the same."""
    length = min(len(expected.frames), len(found.frames))
    differs = (expected.frames[:length] != found.frames[:length]).any(axis=1)
    if differs.any():
        return int(np.argmax(differs))
    return None if len(expected.frames) == len(found.frames) else length


def snr_db(expected: Any, found: Any) -> float | None:
    """10·log10 of signal power / error power; None if there is no error."""
    error = float(np.square(expected.astype(np.float64) - found).sum())
    if error == 0.0:
        return None
    signal = float(np.square(expected, dtype=np.float64).sum())
    return round(10 * float(np.log10(signal / error)), 2) if signal else float("-inf")


def step_floor(tts: TTS) -> dict[str, float]:
    """The least time of a step of one row: reading the weights and what a step moves of its caches,
    at the bandwidth of a plain copy."""
    from runtime.engines.tensorrt.memory import measure_bandwidth  # needs cuda-python

    manifest = tts.bundle.manifest
    specs = [manifest.graphs[name] for name in (names.BACKBONE, manifest.head)]
    weights = sum(manifest.files[spec.file].size_bytes for spec in specs)
    states = sum(state_bytes(spec, {names.ROWS: 1}) for spec in specs)
    cache = states * CACHE_MOVES[manifest.engine.dialect]
    bandwidth = measure_bandwidth()
    return {
        "plan_bytes": weights,
        "cache_bytes": cache,
        "copy_bandwidth_gb_s": bandwidth / 1e9,
        "step_floor_ms": 1e3 * (weights + cache) / bandwidth,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that take part."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def profile_of(report: Mapping[str, Any]) -> Report:
    """The profile of a report."""
    return msgspec.convert(report["profile"], Report)


def format_report(report: Mapping[str, Any]) -> str:
    """The report as text for people."""
    machine, floor = report["machine"], report["floor"]
    gpu = machine["gpu"]
    profile = profile_of(report)
    stages = {stage.name: stage for stage in profile.subjects[0].stages}
    step = 1e3 * stages[DEVICE_STEP].seconds.p50
    lines = [
        f"GPU        {gpu['name']}, compute capability {gpu['compute_capability']}, "
        f"{gpu['memory_bytes'] / 2**30:.1f} GiB, driver for CUDA {gpu['driver_cuda']}",
        f"platform   {machine['platform']}",
        "versions   " + ", ".join(f"{name} {at}" for name, at in machine["versions"].items()),
        f"engine     {report['engine']}",
        f"reference  {report['reference']}",
        "",
        f"{'frames CPU':>10} {'GPU':>6} {'same until':>11} {'codec SNR, dB':>14}  sentence",
        *(_parity_row(row) for row in report["parity"]),
        "",
        f"step: {step:.3f} ms; its floor {floor['step_floor_ms']:.3f} ms "
        f"({(floor['plan_bytes'] + floor['cache_bytes']) / 1e6:.0f} MB at "
        f"{floor['copy_bandwidth_gb_s']:.0f} GB/s, measured by a copy): "
        f"{step / floor['step_floor_ms']:.2f} x the floor",
        "",
        format_profile(profile),
    ]
    return "\n".join(lines)


def _parity_row(row: Mapping[str, Any]) -> str:
    same = "the end" if row["first_difference"] is None else str(row["first_difference"])
    snr = "identical" if row["codec_snr_db"] is None else f"{row['codec_snr_db']:.1f}"
    return (
        f"{row['cpu_frames']:>10} {row['gpu_frames']:>6} {same:>11} {snr:>14}  "
        f"{row['text'][:40]} ({row['sampling']})"
    )
