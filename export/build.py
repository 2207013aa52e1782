"""`python -m export.build`: a checkpoint and a codec become a bundle that speaks.

In: a command line. Out: a summary of what `export.pipeline` has made. Needs torch only to read
pickled `.bin` files and to compare with PyTorch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import Options, add_count, add_output
from commands.run import run_command
from export.arguments import add_source, read_source
from export.options import (
    CODEC_ACTIVATIONS,
    COMPARISON_TAKES,
    CPU_ROWS,
    DEFAULT_OUTPUT,
    OPERATORS,
    PLAN_ROWS,
    Capacity,
    ExportOptions,
    Numbers,
    PlanOptions,
    ReadyBundle,
)
from export.target import check_target, make_library, settle_target, usual_target
from formats.precisions import CACHE_FORMATS, NATIVE_CODEC_PRECISIONS, PRECISIONS
from runtime.bundle.names import (
    DIALECTS,
    GPU_TARGETS,
    MAX_ROWS,
    NATIVE,
    ONNXRUNTIME,
    ORT,
    PORTABLE,
    TARGETS,
)

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest

DESCRIPTION = """\
Turn a speech language model and its codec into a bundle, the directory that
python -m runtime.tts --engine speaks from. For this project's own engine, the
usual one on CPUs, weights are packed, and what the engine computes is compared
with ONNX Runtime. For ONNX Runtime and GPUs, graphs are written from the
checkpoint's tensors, checked in ONNX Runtime, and compared with PyTorch where
that is installed. --no-compare leaves comparisons out. If anything fails, no
new bundle appears, and an older one stays as it was."""

EXAMPLES = """\
examples:
  hear the demo voice:
    python -m export.build
    python -m runtime.tts --engine engine "They know it." -o out.wav
  bring a checkpoint and the published FACodec, with two voices:
    python -m export.build --model my-model --codec facodec \\
        --voice anna=anna.wav --voice ben=ben.safetensors --output my-engine
  for an engine that knows standard ONNX operators only, in half precision:
    python -m export.build --model my-model --codec facodec \\
        --dialect portable --precision fp16
  for ONNX Runtime instead of this project's own engine:
    python -m export.build --target onnxruntime
  for RTX GPUs, on any machine; and for a Jetson, on the Jetson:
    python -m export.build --target tensorrt-rtx --sm 89 120 --precision fp16
    python -m export.build --target tensorrt --bundle portable-bundle"""


def run(arguments: argparse.Namespace) -> None:
    """Build a bundle of graphs, of weights or of plans, and print a summary. Raises `UserError`."""
    options = read_options(arguments)
    if arguments.print_trtexec:
        _print_trtexec(options)
        return
    from export.pipeline import build_bundle, build_plans  # a missing package is told first

    if arguments.target is None:
        options = _settle_options(arguments)
    elif arguments.target == NATIVE and options.compare is not False:
        make_library()
    started = time.perf_counter()
    manifest = build_bundle(options) if options.plans is None else build_plans(options)
    _print_summary(manifest, options.output, time.perf_counter() - started)


def _settle_options(arguments: argparse.Namespace) -> ExportOptions:
    """The options with the usual target, or with what this machine has instead; it is told."""
    choice = settle_target(arguments)
    print(choice.line, flush=True)
    options = read_options(_with_target(arguments, choice.target))
    if choice.target == NATIVE:
        make_library()
    return options


def _with_target(arguments: argparse.Namespace, target: str) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(arguments), "target": target})


def read_options(arguments: argparse.Namespace) -> ExportOptions:
    """The options that were typed. Without --target they are those of the usual one.

    Raises:
        UserError: options contradict each other.
    """
    if arguments.target is None:
        arguments = _with_target(arguments, usual_target(arguments).target)
    check_target(arguments)
    for_gpus = arguments.target in GPU_TARGETS
    if arguments.bundle is not None:
        _check_bundle(arguments)
        return ExportOptions(plans=_read_plans(arguments), output=arguments.output)
    return ExportOptions(
        source=read_source(arguments),
        numbers=_read_numbers(arguments),
        capacity=_read_capacity(arguments),
        text_head=arguments.text_head,
        output=arguments.output,
        compare=arguments.compare,
        plans=_read_plans(arguments) if for_gpus else None,
    )


def _read_numbers(arguments: argparse.Namespace) -> Numbers:
    for_gpus = arguments.target in GPU_TARGETS
    asked = None if for_gpus else arguments.dialect  # of plans: `PlanOptions` has it
    usual_dialect = {ONNXRUNTIME: ORT, NATIVE: NATIVE}.get(arguments.target, PORTABLE)
    has_scales = arguments.target == NATIVE and arguments.codec_calibration is not None
    return Numbers(
        precision=arguments.precision or ("fp16" if for_gpus else "fp32"),
        dialect=asked or usual_dialect,
        calibration=arguments.calibration,
        codec_calibration=arguments.codec_calibration,
        codec_activation=arguments.codec_activation or OPERATORS,
        codec_precision=arguments.codec_precision or ("int8" if has_scales else "fp32"),
        cache=arguments.cache,
    )


def _read_capacity(arguments: argparse.Namespace) -> Capacity:
    if arguments.rows is not None and arguments.rows > MAX_ROWS:
        raise UserError(f"--rows is 1 to {MAX_ROWS}, not {arguments.rows}")
    return Capacity(arguments.max_positions, arguments.rows)


def _read_plans(arguments: argparse.Namespace) -> PlanOptions:
    folder = arguments.bundle
    bundle = None if folder is None else ReadyBundle(folder, arguments.precision)
    return PlanOptions(arguments.target, tuple(arguments.sm), bundle, arguments.dialect)


def _check_bundle(arguments: argparse.Namespace) -> None:
    """Raise `UserError` for an option that would change a bundle that exists."""
    for option in _changing_options(arguments):
        raise UserError(f"--bundle is exported already: {option} cannot change it")


def _changing_options(arguments: argparse.Namespace) -> Iterator[str]:
    yield from (word for word in read_source(arguments).to_words() if word.startswith("--"))
    given = {
        "--dialect": arguments.dialect,
        "--calibration": arguments.calibration,
        "--codec-calibration": arguments.codec_calibration,
        "--codec-activation": arguments.codec_activation,
        "--text-head": arguments.text_head,
        "--max-positions": arguments.max_positions,
        "--rows": arguments.rows,
        "--compare": arguments.compare,
    }
    yield from (option for option, value in given.items() if value)


def _print_trtexec(options: ExportOptions) -> None:
    from export.pipeline import trtexec_commands

    assert options.plans is not None
    print("\n".join(trtexec_commands(options.plans)))


def _print_summary(manifest: Manifest, output: Path, seconds: float) -> None:
    size_mb = sum(record.size_bytes for record in manifest.files.values()) / 1e6
    size = f"{output}: {size_mb:.1f} MB, {seconds:.1f} s"
    if manifest.engine.plans is None:
        _print_bundle(manifest, output, size)
    else:
        _print_plans(manifest, output, size)


def _print_bundle(manifest: Manifest, output: Path, size: str) -> None:
    from export.bundle.next_command import example_command
    from export.checks.writing_check import may_answer

    voices = ", ".join(manifest.voices) or "none, so name a recording with --voice"
    print(f"{size}; voices: {voices}")
    print(f"speak: {example_command('runtime.tts', manifest, output)}")
    if may_answer(manifest, output):
        print(f"ask:   {example_command('runtime.chat', manifest, output)}")


def _print_plans(manifest: Manifest, output: Path, size: str) -> None:
    from commands.peak_memory import peak_memory_mb
    from export.bundle.next_command import example_command
    from runtime.engines.tensorrt.plan_check import TITLES

    plans, peak_mb = manifest.engine.plans, peak_memory_mb()
    assert plans is not None
    memory = "unknown" if peak_mb is None else f"{peak_mb / 1024:.1f} GiB"
    print(
        f"{size}, peak memory {memory}; {TITLES[manifest.engine.kind]} {plans.version}, "
        f"compute capability {', '.join(plans.compute_capabilities)}"
    )
    print(f"on such a GPU: {example_command('runtime.tts', manifest, output)}")


def make_parser() -> CommandParser:
    """The options of this command."""
    parser = command_parser("export.build", DESCRIPTION, more=EXAMPLES)
    add_source(parser)
    add_output(parser, "bundle to write or replace", DEFAULT_OUTPUT)
    add = parser.add_argument
    add("--precision", choices=PRECISIONS, help=_PRECISION_HELP)
    add("--calibration", type=Path, metavar="DIR", help=_CALIBRATION_HELP)
    add("--dialect", choices=DIALECTS, help=_DIALECT_HELP)
    add("--codec-calibration", type=Path, metavar="DIR", help=_CODEC_CALIBRATION_HELP)
    add("--codec-precision", choices=NATIVE_CODEC_PRECISIONS, help=_CODEC_PRECISION_HELP)
    add("--cache", choices=CACHE_FORMATS, help=_CACHE_HELP)
    add("--codec-activation", choices=CODEC_ACTIVATIONS, help=_ACTIVATION_HELP)
    add("--text-head", action="store_true", help=_TEXT_HEAD_HELP)
    add_count(parser, "--max-positions", _POSITIONS_HELP)
    add_count(parser, "--rows", _ROWS_HELP)
    add("--compare", action=argparse.BooleanOptionalAction, help=_COMPARE_HELP)
    add("--target", choices=TARGETS, help=_TARGET_HELP)
    _add_plans(parser.add_argument_group("GPU"))
    return parser


def _add_plans(group: Options) -> None:
    add = group.add_argument
    add("--sm", type=int, nargs="+", default=[], metavar="N", help=_SM_HELP)
    add("--bundle", type=Path, metavar="DIR", help=_BUNDLE_HELP)
    add("--print-trtexec", action="store_true", help=_TRTEXEC_HELP)


_PRECISION_HELP = """number format of weights, products and KV caches: fp32 (default); bf16 with
--target native, fp16 and bf16 with --dialect portable or basic; with --calibration, weights in int8
and int4 everywhere and in fp8 in these two dialects. For GPUs the default is fp16, or with --bundle
the bundle's precision"""
_CALIBRATION_HELP = "scales for int8, fp8 and int4, from python -m calibration.run"
_CODEC_CALIBRATION_HELP = """scales for the codec's decoder in int8 or fp8, from python -m
calibration.codec; for --target native (int8), for GPUs, or with --dialect portable or basic
(default: the codec is fp32)"""
_DIALECT_HELP = """operators of graphs: ort (default) is fastest in ONNX Runtime, portable is
standard ONNX, basic is what TensorRT 10.3 (JetPack 6) knows of it. For GPUs the default is what
TensorRT reads best; basic on Python 3.10, whose ONNX Runtime cannot check portable graphs"""
_CODEC_PRECISION_HELP = """number format of the codec's decoder with --target native: fp32
(default), bf16, or int8 with --codec-calibration"""
_CACHE_HELP = """number format of keys and values with --target native (default: fp32 for
fp32, fp16 for bf16, int8 for int8 and int4)"""
_TARGET_HELP = """what runs the bundle; native: this project's own engine for CPUs, whose library is
compiled first if that is necessary (default, where there is the library or a C++ compiler, for all
options that it has); onnxruntime: ONNX Runtime (default otherwise); tensorrt-rtx: RTX GPUs, built
on any machine; tensorrt: Jetson and data centre GPUs, built on the device itself"""
_SM_HELP = """GPUs that tensorrt-rtx plans are for, as compute capability without the point: 75,
80, 86, 89, 120, 121 (default: all from 80 to 120 that have the precision)"""
_BUNDLE_HELP = "make plans from this bundle, which was exported with --dialect portable or basic"
_TRTEXEC_HELP = "print the commands that build and time the same plans with NVIDIA's own tool"
_TEXT_HEAD_HELP = """also export the head that writes text, which runtime.chat needs; for models
that were trained on questions"""
_ROWS_HELP = f"""texts that are spoken side by side in one call, 1 to {MAX_ROWS} (default:
{CPU_ROWS}; {PLAN_ROWS} for GPUs, whose plans need memory for all of them)"""
_COMPARE_HELP = f"""compare what the graphs compute with PyTorch: {COMPARISON_TAKES} (default: where
PyTorch is installed). For the native engine: compare what the engine computes with ONNX Runtime
(default)"""
_ACTIVATION_HELP = """alias-free activations of the codec's decoder: standard operators (default),
or one node each that a TensorRT plugin can replace (docs/gpu-kernels.md)"""
_POSITIONS_HELP = """longest prompt and speech together, in positions. The default is what the
checkpoint was trained for; in the portable and basic dialects, whose caches have a fixed size that
every step pays for, it is enough for a prompt of 512 and 30 s of speech at most"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
