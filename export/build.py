"""`python -m export.build`: a checkpoint and a codec become a bundle that speaks.

In: directories with a language model and a codec, and voices. Out: an engine directory for
`python -m runtime.tts`, checked and complete, or nothing. Needs no torch, except to read
pickled `.bin` files.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli
from export.options import (
    CODEC_ACTIVATIONS,
    COMPARISON_TAKES,
    CPU,
    CPU_ROWS,
    DEFAULT_OUTPUT,
    DEMO_HEADS,
    DIALECTS,
    PLAN_ROWS,
    PRECISIONS,
    TARGETS,
    BuildOptions,
)
from runtime.bundle.names import MAX_ROWS

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest

GPU_OPTIONS = ("target", "sm", "bundle", "print_trtexec")

DESCRIPTION = """\
Turn a speech language model and its codec into an engine directory that
python -m runtime.tts speaks from. The graphs are written from the checkpoint's
tensors and checked in ONNX Runtime, and compared with PyTorch where that is
installed, unless --no-compare is given.
A failure leaves nothing behind, and an engine that was there before untouched."""

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
  for RTX GPUs, on any machine; and for a Jetson, on the Jetson:
    python -m export.build --target tensorrt-rtx --sm 89 120 --precision fp16
    python -m export.build --target tensorrt --bundle portable-bundle"""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    arguments = vars(_make_parser().parse_args(argv))
    _check_target(arguments)
    target, sm, bundle, print_trtexec = (arguments.pop(name) for name in GPU_OPTIONS)
    arguments["voices"] = tuple(arguments.pop("voice"))
    if target == CPU:
        from export.pipeline import build_bundle

        started = time.perf_counter()
        options = _settled(arguments, dialect="ort", precision="fp32")
        _print_summary(build_bundle(options), options.output, time.perf_counter() - started)
        return
    from export.plans.gpu_build import GpuOptions, build_for_gpu, bundle_precision

    usual = "fp16" if bundle is None else arguments["precision"] or bundle_precision(bundle)
    options = _settled(arguments, dialect="portable", precision=usual)
    gpu = GpuOptions(
        target,
        options.precision,
        _codec_precision(options, bundle),
        tuple(sm),
        bundle,
        print_trtexec,
    )
    build_for_gpu(options, gpu)


def _codec_precision(options: BuildOptions, bundle: Path | None) -> str:
    """What the codec's decoder is computed in; nothing is opened but one small file."""
    from export.plans.gpu_build import bundle_precision
    from formats.calibration_folder import read_record
    from runtime.bundle.names import CODEC_DECODER

    if bundle is not None:
        return bundle_precision(bundle, CODEC_DECODER)
    if options.codec_calibration is None:
        return "fp32"
    return read_record(options.codec_calibration).precision


def _settled(arguments: dict[str, Any], **defaults: str) -> BuildOptions:
    """The options, with `defaults` for those that were not given."""
    defaults["codec_activation"] = "operators"
    given = {name: value for name, value in arguments.items() if value is not None}
    return BuildOptions(**(defaults | given))


def _check_target(arguments: dict[str, Any]) -> None:
    """Raise `UserError` for options that do not go together, or cannot be."""
    if arguments["rows"] is not None and not 1 <= arguments["rows"] <= MAX_ROWS:
        raise UserError(f"--rows is 1 to {MAX_ROWS}, not {arguments['rows']}")
    given = [name for name, value in arguments.items() if value]
    for_bundle = [n for n in given if n not in (*GPU_OPTIONS, "output", "precision", "dialect")]
    if arguments["target"] == CPU:
        for name in (name for name in GPU_OPTIONS[1:] if name in given):
            raise UserError(
                f"{_option(name)} goes with --target {' or --target '.join(TARGETS[1:])}"
            )
    elif arguments["dialect"] == "ort":
        raise UserError("--dialect ort is for ONNX Runtime; plans are built from portable graphs")
    if "bundle" in given and for_bundle:
        raise UserError(f"--bundle is exported already: {_option(for_bundle[0])} cannot change it")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _print_summary(manifest: Manifest, output: Path, seconds: float) -> None:
    from export.bundle.next_command import example_command
    from export.checks.writing_check import may_answer

    size_mb = sum(record.size_bytes for record in manifest.files.values()) / 1e6
    voices = ", ".join(manifest.voices) or "none, so name a recording with --voice"
    print(f"{output}: {size_mb:.1f} MB, {seconds:.1f} s; voices: {voices}")
    print(f"speak: {example_command('runtime.tts', manifest, output)}")
    if may_answer(manifest, output):
        print(f"ask:   {example_command('runtime.chat', manifest, output)}")


def _make_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m export.build",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--heads", type=int, metavar="N", help=_HEADS_HELP)
    add("--model", type=Path, metavar="DIR", help="checkpoint (default: the demo voice)")
    add("--codec", type=Path, metavar="DIR", help=_CODEC_HELP)
    add("--voice", action="extend", nargs="+", default=[], metavar="NAME=FILE", help=_VOICE_HELP)
    add("--output", type=Path, default=Path(DEFAULT_OUTPUT), metavar="DIR", help=_OUTPUT_HELP)
    add("--precision", choices=PRECISIONS, help=_PRECISION_HELP)
    add("--calibration", type=Path, metavar="DIR", help=_CALIBRATION_HELP)
    add("--dialect", choices=DIALECTS, help=_DIALECT_HELP)
    add("--codec-calibration", type=Path, metavar="DIR", help=_CODEC_CALIBRATION_HELP)
    add("--codec-activation", choices=CODEC_ACTIVATIONS, help=_ACTIVATION_HELP)
    add("--text-head", action="store_true", help=_TEXT_HEAD_HELP)
    add("--max-positions", type=int, metavar="N", help=_POSITIONS_HELP)
    add("--rows", type=int, metavar="N", help=_ROWS_HELP)
    add("--compare", action=argparse.BooleanOptionalAction, help=_COMPARE_HELP)
    gpu = parser.add_argument_group("GPU")
    gpu.add_argument("--target", choices=TARGETS, default=CPU, help=_TARGET_HELP)
    gpu.add_argument("--sm", type=int, nargs="+", default=[], metavar="N", help=_SM_HELP)
    gpu.add_argument("--bundle", type=Path, metavar="DIR", help=_BUNDLE_HELP)
    gpu.add_argument("--print-trtexec", action="store_true", help=_TRTEXEC_HELP)
    return parser


_HEADS_HELP = f"""codes a step: 3, 6, 12 ..., or 1 for a next-token model; with --model it must be
the checkpoint's, without it chooses the demo voice (default: {DEMO_HEADS})"""
_CODEC_HELP = """codec: codec.json with codec.safetensors, or the published
ns3_facodec_encoder_v2.bin and ns3_facodec_decoder_v2.bin"""
_VOICE_HELP = """a voice of the engine: a recording (16 kHz or any other rate, 30 s at most) or a
.safetensors file; there can be several, the first is the default"""
_OUTPUT_HELP = f"engine directory to write or replace (default: {DEFAULT_OUTPUT})"
_PRECISION_HELP = """number format of weights, products and KV caches: fp32 (default), or fp16 and
bf16 with --dialect portable; or weights of int8 and int4 in both dialects and fp8 in the portable
one, with --calibration; for GPUs fp16 is the default, with --bundle the bundle's"""
_CALIBRATION_HELP = "scales for int8, fp8 and int4: what python -m calibration.run left"
_CODEC_CALIBRATION_HELP = """the codec's decoder in int8 or fp8, with --dialect portable or for
GPUs: what python -m calibration.codec left (default: fp32)"""
_DIALECT_HELP = """operators: ort is fastest in ONNX Runtime (default), portable is standard ONNX"""
_TARGET_HELP = f"""what runs the engine (default: {CPU}); tensorrt-rtx: RTX GPUs, built on any
machine; tensorrt: Jetson and data centre GPUs, built on the device itself"""
_SM_HELP = """GPUs that a tensorrt-rtx engine is for, as compute capability without the point: 75,
80, 86, 89, 120, 121 (default: all from 80 to 120 that have the precision)"""
_BUNDLE_HELP = "make the engine from this bundle, which was exported with --dialect portable"
_TRTEXEC_HELP = "print the commands that build and time the same plans with NVIDIA's own tool"
_TEXT_HEAD_HELP = """also export the head that writes text: what runtime.chat needs, of a model that
was trained on questions"""
_ROWS_HELP = f"""utterances that the engine can speak side by side, 1 to {MAX_ROWS} (default:
{CPU_ROWS}; {PLAN_ROWS} for GPUs, whose plans need memory for all of them)"""
_COMPARE_HELP = f"""compare what the graphs compute with PyTorch: {COMPARISON_TAKES} (default:
where PyTorch is installed)"""
_ACTIVATION_HELP = """alias-free activations of the codec's decoder: standard operators (default),
or one node each that a TensorRT plugin can replace (docs/gpu-kernels.md)"""
_POSITIONS_HELP = """longest prompt and speech together, in positions (default: what the
checkpoint was trained for; in the portable dialect, whose caches have a fixed size that every
step pays for, 512 and 30 s of speech at most)"""


if __name__ == "__main__":
    sys.exit(main())
