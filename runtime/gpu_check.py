"""Command line: what an engine does on this machine's GPU, in one report to attach to an issue.

In: an engine directory of plans, and a bundle of the same model for the CPU. Out: a folder with
`gpu-check.json` and `gpu-check.txt`: machine and versions; whether the GPU speaks the frames that
the CPU speaks, and how closely its codec follows; every stage's time, the step's beside what the
memory's bandwidth allows. It needs a GPU, and says in one line what is missing if it finds none.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli
from formats.files.atomic import write_atomically
from runtime.engines.tensorrt.gpu_driver import count_gpus

if TYPE_CHECKING:
    from runtime.speech.spoken import Utterance
    from runtime.speech.synthesis import TTS

SENTENCES = (
    "The birds sang in the old garden while the rain fell softly.",
    "They know it.",
    "A small boat came slowly around the island before the sun went down.",
)
MAX_STEPS = 400
JSON_FILE, TEXT_FILE = "gpu-check.json", "gpu-check.txt"


@dataclass(frozen=True)
class Parity:
    """One sentence on both engines.

    first_difference: the frame from which on the frames differ, None if they are the same.
    codec_snr_db: of the GPU's audio against the CPU's, for the CPU's frames; None if identical.
    """

    text: str
    sampling: str
    cpu_frames: int
    gpu_frames: int
    first_difference: int | None
    codec_snr_db: float | None


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m runtime.gpu_check",
        description="Check and measure an engine on this machine's GPU; write one report.",
        epilog="make gpu-check builds both directories first.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--engine", metavar="DIR", help="plans, for the GPU")
    what.add_argument(
        "--print-target", action="store_true", help="print export.build's options for this GPU"
    )
    what.add_argument(
        "--find-gpu", action="store_true", help="only say whether there is one; installs nothing"
    )
    parser.add_argument("--reference", metavar="DIR", help="the same model for the CPU")
    parser.add_argument("--output", default="gpu-check", metavar="DIR", help="default: gpu-check")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU's engine")
    return parser.parse_args(argv)


def check(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    if arguments.find_gpu:
        print(f"GPUs found: {count_gpus()}")
        return
    if arguments.print_target:
        print(target_options())
        return
    if arguments.reference is None or arguments.runs < 1:
        raise UserError("--reference names a bundle for the CPU; --runs takes 1 or more")
    report = make_report(arguments)
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    text = format_report(report)
    write_atomically(folder / JSON_FILE, (json.dumps(report, indent=2) + "\n").encode())
    write_atomically(folder / TEXT_FILE, (text + "\n").encode())
    print(text)
    print(f"\nwrote {folder / JSON_FILE} and {folder / TEXT_FILE}: attach both to an issue")


def target_options() -> str:
    """What `export.build` is given to make plans for this GPU.

    Raises:
        UserError: no cuda-python, no driver, no GPU, or one that no plans can be built for.
    """
    from runtime.bundle.names import TENSORRT_RTX
    from runtime.engines.tensorrt.gpu_targets import find_target

    gpu = _find_gpu()
    target = find_target(gpu.compute_capability)
    if target is None:
        raise UserError(f"{gpu.name} has compute capability {gpu.compute_capability}: no target")
    kind = target.libraries[0]
    return f"--target {kind}" + (f" --sm {target.sm}" if kind == TENSORRT_RTX else "")


def _find_gpu() -> Any:
    from commands.extras import install_command

    try:
        from runtime.engines.tensorrt.cuda import find_gpu
    except ImportError as error:
        raise UserError(
            f"needs cuda-python ({error}); install it: {install_command('tensorrt-rtx')}"
        ) from None
    return find_gpu()


def make_report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything that is written, by section."""
    gpu = _find_gpu()  # first: nothing else matters without one
    from runtime.speech.synthesis import TTS
    from runtime.speed import SpeedOptions, measure_speed

    on_gpu = TTS.load(arguments.engine)
    on_cpu = TTS.load(arguments.reference, threads=arguments.threads)
    check_same_model(on_cpu, on_gpu)
    manifest = on_gpu.bundle.manifest
    return {
        "machine": {"gpu": asdict(gpu), "platform": platform.platform(), "versions": versions()},
        "engine": on_gpu.describe(),
        "reference": on_cpu.describe(),
        "plans": None if manifest.engine.plans is None else _plans(manifest.engine.plans),
        "parity": [asdict(parity) for parity in compare_speech(on_cpu, on_gpu)],
        "floor": step_floor(on_gpu),
        "profile": measure_speed(
            SpeedOptions(arguments.engine, runs=arguments.runs, warmup=2, max_steps=MAX_STEPS)
        ),
    }


def check_same_model(on_cpu: TTS, on_gpu: TTS) -> None:
    """Raises `UserError` for bundles of different models: nothing could be compared."""
    models = [tts.bundle.manifest.language_model for tts in (on_cpu, on_gpu)]
    for field in ("kind", "heads", "head_kind", "hidden_size", "layers"):
        ours, theirs = (getattr(model, field) for model in models)
        if ours != theirs:
            raise UserError(
                f"{on_cpu.bundle.folder}: its model has {field} {ours}, "
                f"{on_gpu.bundle.folder} has {theirs}; name the same model's bundle"
            )


def compare_speech(on_cpu: TTS, on_gpu: TTS) -> list[Parity]:
    """Every sentence greedily, and with a seed."""
    from runtime.speech.sampling import Sampling

    settings = {"greedy": Sampling(do_sample=False), "seed 1": Sampling(seed=1)}
    if not on_cpu.bundle.manifest.sampling.do_sample:
        del settings["seed 1"]
    compared = []
    for text in SENTENCES:
        for name, sampling in settings.items():
            expected = on_cpu.synthesize(text, sampling=sampling, max_steps=MAX_STEPS)
            found = on_gpu.synthesize(text, sampling=sampling, max_steps=MAX_STEPS)
            speaker = on_cpu.speaker()
            audio = [tts.decode(expected.frames, speaker) for tts in (on_cpu, on_gpu)]
            compared.append(
                Parity(
                    text=text,
                    sampling=name,
                    cpu_frames=len(expected.frames),
                    gpu_frames=len(found.frames),
                    first_difference=first_difference(expected, found),
                    codec_snr_db=snr_db(*audio),
                )
            )
    return compared


def first_difference(expected: Utterance, found: Utterance) -> int | None:
    """The first frame that is not the same; None if there is none."""
    import numpy as np

    length = min(len(expected.frames), len(found.frames))
    differs = (expected.frames[:length] != found.frames[:length]).any(axis=1)
    if differs.any():
        return int(np.argmax(differs))
    return None if len(expected.frames) == len(found.frames) else length


def snr_db(expected: Any, found: Any) -> float | None:
    """10·log10 of signal power / error power; None if there is no error."""
    import numpy as np

    error = float(np.square(expected.astype(np.float64) - found).sum())
    if error == 0.0:
        return None
    signal = float(np.square(expected, dtype=np.float64).sum())
    return round(10 * float(np.log10(signal / error)), 2) if signal else float("-inf")


def step_floor(tts: TTS) -> dict[str, float]:
    """The least time of a step of one row: the weights and half a cache, at the bandwidth of a
    plain copy."""
    from runtime.bundle import names
    from runtime.engines.graph import state_bytes
    from runtime.engines.tensorrt.memory import measure_bandwidth

    manifest = tts.bundle.manifest
    specs = [manifest.graphs[name] for name in (names.BACKBONE, manifest.head)]
    weights = sum(manifest.files[spec.file].size_bytes for spec in specs)
    cache = sum(state_bytes(spec, {names.ROWS: 1}) for spec in specs) / 2
    bandwidth = measure_bandwidth()
    return {
        "plan_bytes": weights,
        "half_cache_bytes": cache,
        "copy_bandwidth_gb_s": bandwidth / 1e9,
        "step_floor_ms": 1e3 * (weights + cache) / bandwidth,
    }


def _plans(plans: Any) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(plans)
    return found


def versions() -> dict[str, str]:
    """Of Python and of every package that takes part and is installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    packages = ("numpy", "onnxruntime", "onnxruntime-gpu", "cuda-bindings", "slm-deploy")
    for package in (*packages, "tensorrt", "tensorrt-rtx-cu13"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def format_report(report: Mapping[str, Any]) -> str:
    """For people."""
    from runtime.speed import format_speed

    machine, floor = report["machine"], report["floor"]
    gpu = machine["gpu"]
    step = report["profile"]["stages_ms"]["device_step"]["p50"]
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
        f"({(floor['plan_bytes'] + floor['half_cache_bytes']) / 1e6:.0f} MB at "
        f"{floor['copy_bandwidth_gb_s']:.0f} GB/s, measured by a copy): "
        f"{step / floor['step_floor_ms']:.2f} x the floor",
        "",
        format_speed(report["profile"]),
    ]
    return "\n".join(lines)


def _parity_row(row: Mapping[str, Any]) -> str:
    same = "the end" if row["first_difference"] is None else str(row["first_difference"])
    snr = "identical" if row["codec_snr_db"] is None else f"{row['codec_snr_db']:.1f}"
    return (
        f"{row['cpu_frames']:>10} {row['gpu_frames']:>6} {same:>11} {snr:>14}  "
        f"{row['text'][:40]} ({row['sampling']})"
    )


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(check, argv)


if __name__ == "__main__":
    sys.exit(main())
