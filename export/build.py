"""`python -m export.build`: a checkpoint and a codec become a bundle that speaks.

In: directories with a language model and a codec, and voices. Out: an engine directory for
`python -m runtime.tts`, checked and complete, or nothing. Needs no torch, except to read
pickled `.bin` files.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.command_line import CommandParser
from runtime.errors import UserError, run_cli

if TYPE_CHECKING:
    from export.calibration_folder import Calibration
    from export.check import Step
    from export.checkpoint import Checkpoint
    from export.codec_checkpoint import CodecCheckpoint
    from export.formats import Precision
    from export.graph import Graph
    from export.sources import Sources
    from runtime.bundle import Check, GraphSpec, Manifest

DEMO_HEADS = 6  # understood best: docs/performance.md
DIALECTS = ("ort", "portable")
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8", "int4")
CODEC_PRECISIONS = ("int8", "fp8")  # of the decoder's convolutions; all else is fp32
CODEC_ACTIVATIONS = ("operators", "plugin")
DEFAULT_OUTPUT = "engine"
CPU = "onnxruntime"
TARGETS = (CPU, "tensorrt-rtx", "tensorrt")
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


@dataclass(frozen=True)
class BuildOptions:
    """What to export. Without `model`: the demo voice."""

    heads: int | None = None  # checked against the checkpoint; for the demo voice, which one
    model: Path | None = None
    codec: Path | None = None
    voices: tuple[str, ...] = ()  # NAME=FILE
    output: Path = Path(DEFAULT_OUTPUT)
    precision: Precision = "fp32"
    dialect: str = "ort"
    codec_activation: str = "operators"
    text_head: bool = False
    max_positions: int | None = None
    calibration: Path | None = None  # what `python -m calibration.run` left
    codec_calibration: Path | None = None  # what `python -m calibration.codec` left
    compare: bool | None = None  # with PyTorch; None: where that is installed


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    arguments = vars(_make_parser().parse_args(argv))
    _check_target(arguments)
    target, sm, bundle, print_trtexec = (arguments.pop(name) for name in GPU_OPTIONS)
    arguments["voices"] = tuple(arguments.pop("voice"))
    if target == CPU:
        started = time.perf_counter()
        options = BuildOptions(
            **_settled(arguments, dialect="ort", precision="fp32", codec_activation="operators")
        )
        _print_summary(build_bundle(options), options.output, time.perf_counter() - started)
        return
    from export.gpu_build import GpuOptions, build_for_gpu, bundle_precision

    usual = "fp16" if bundle is None else arguments["precision"] or bundle_precision(bundle)
    options = BuildOptions(
        **_settled(arguments, dialect="portable", precision=usual, codec_activation="operators")
    )
    gpu = GpuOptions(
        target,
        options.precision,
        _codec_precision(options, bundle),
        tuple(sm),
        bundle,
        print_trtexec,
    )
    build_for_gpu(options, gpu, build_bundle, _progress)


def _codec_precision(options: BuildOptions, bundle: Path | None) -> str:
    """What the codec's decoder is computed in; nothing is opened but one small file."""
    from export.calibration_folder import read_record
    from export.gpu_build import bundle_precision
    from runtime.bundle import CODEC_DECODER

    if bundle is not None:
        return bundle_precision(bundle, CODEC_DECODER)
    if options.codec_calibration is None:
        return "fp32"
    return read_record(options.codec_calibration).precision


def _settled(arguments: dict[str, Any], **defaults: str) -> dict[str, Any]:
    """Arguments, with `defaults` for those that were not given."""
    return arguments | {name: arguments[name] or value for name, value in defaults.items()}


def _check_target(arguments: dict[str, Any]) -> None:
    """Raise `UserError` for options that do not go with --target or --bundle."""
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


def build_bundle(options: BuildOptions) -> Manifest:
    """Export to `options.output`, printing progress; returns the manifest that was written.

    Raises:
        UserError: an input that does not fit, or a check that failed; nothing is written.
        OSError: a full disk, no permission; nothing is written.
    """
    from export.bundle_writer import bundle_folder, publish_bundle
    from export.check import decide_comparison
    from export.manifest import describe_bundle
    from export.voices import write_voices
    from runtime.bundle import CODEC_ENCODER

    compare = decide_comparison(options.compare)
    with bundle_folder(options.output) as folder:
        sources = _open_sources(options)
        _tell_of_text(sources.checkpoint)
        if options.text_head:
            _tell_of_answers(sources.checkpoint)
        graphs = _write_graphs(sources, options, folder)
        with _progress("voices, tokenizer, embeddings"):
            voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER])
            write_tables(sources.checkpoint, folder, options.precision)
        checks = _run_checks(sources, graphs, folder, compare)
        manifest = describe_bundle(
            sources.checkpoint, sources.codec.config, options.dialect, graphs, voices, checks
        )
        with _progress("hash and write to disk"):
            return publish_bundle(folder, manifest, options.output)


def _open_sources(options: BuildOptions) -> Sources:
    from export.sources import find_sources, open_sources

    demo_heads = DEMO_HEADS if options.heads is None else options.heads
    folders = find_sources(options.model, options.codec, options.voices, demo_heads)
    with _progress(f"read {folders.model} and {folders.codec}"):
        return open_sources(
            folders,
            options.heads,
            options.max_positions,
            fixed_capacity=options.dialect == "portable",
        )


def _tell_of_text(checkpoint: Checkpoint) -> None:
    """Say which symbols of its texts the model has not learnt."""
    from export.frontend_check import describe_symbols, find_lacking

    lacking = find_lacking(checkpoint)
    if lacking.replaced:
        print(f"signs read as commas, stops or nothing: {describe_symbols(lacking.replaced)}")
    if lacking.lost:
        print(
            f"warning: {checkpoint.folder}: the tokenizer has no symbol for "
            f"{describe_symbols(lacking.lost)}; texts that need them are not read whole"
        )


def _tell_of_answers(checkpoint: Checkpoint) -> None:
    """Say so where the model cannot have learnt to write."""
    from export.writing_check import why_no_answers

    if (why := why_no_answers(checkpoint)) is not None:
        print(
            f"warning: {checkpoint.folder}: {why}, so it cannot answer and --text-head is of no "
            "use; a model that was trained on questions is samples/demo_chat/6-heads (docs/chat.md)"
        )


def _write_graphs(sources: Sources, options: BuildOptions, folder: Path) -> dict[str, GraphSpec]:
    """Build and save one graph after the other."""
    graphs = {}
    for graph in _build_graphs(sources, options):
        with _progress(f"write {graph.name}"):
            graphs[graph.name] = graph.save(folder)
    return graphs


def _build_graphs(sources: Sources, options: BuildOptions) -> Iterator[Graph]:
    from export.codec_encoder import build_codec_encoder
    from export.language_model import language_model_graphs
    from export.quantized_products import quantized_formats, require_known

    dialect = options.dialect
    products: dict[str, tuple[int, ...]] = {}
    calibration = _open_calibration(sources, options)
    codec_calibration = _open_codec_calibration(sources.codec, options)
    formats = quantized_formats(calibration.weights, dialect) if calibration else None
    for graph in language_model_graphs(
        sources.checkpoint, dialect, options.precision, formats, with_text_head=options.text_head
    ):
        products |= graph.products
        yield graph
    if calibration:
        require_known(calibration, products)
    yield _build_decoder(sources.codec, options, codec_calibration)
    yield build_codec_encoder(sources.codec, dialect)


def _build_decoder(
    codec: CodecCheckpoint, options: BuildOptions, calibration: Calibration | None
) -> Graph:
    """The codec's decoder, in the precision of its own calibration."""
    from export.codec_decoder import build_codec_decoder
    from export.quantized_convolutions import quantized_convolutions
    from export.quantized_products import require_known

    dialect, activation = options.dialect, options.codec_activation
    if calibration is None:
        return build_codec_decoder(codec, dialect, activation=activation)
    graph = build_codec_decoder(
        codec,
        dialect,
        calibration.record.precision,
        activation,
        quantized_convolutions(calibration.weights),
    )
    require_known(calibration, graph.products)
    return graph


def _open_codec_calibration(codec: CodecCheckpoint, options: BuildOptions) -> Calibration | None:
    """What --codec-calibration names, if it fits."""
    from export.calibration_folder import open_calibration

    if options.codec_calibration is None:
        return None
    if options.dialect != "portable":
        raise UserError(
            f"--codec-calibration is for engines of portable graphs, the {options.dialect} dialect "
            "is not: add --dialect portable"
        )
    return open_calibration(options.codec_calibration, codec.folder, *CODEC_PRECISIONS)


def _open_calibration(sources: Sources, options: BuildOptions) -> Calibration | None:
    """What the precision needs: scales, or nothing."""
    from export.calibration_folder import open_calibration
    from export.formats import QUANTIZED
    from export.next_command import calibration_command

    precision, folder = options.precision, options.calibration
    if precision not in QUANTIZED and folder is None:
        return None
    if folder is None:
        told = {"--model": options.model, "--codec": options.codec, "--heads": options.heads}
        raise UserError(
            f"--precision {precision} needs --calibration DIR; make one with: "
            f"{calibration_command(precision, told, options.voices)}"
        )
    if precision not in QUANTIZED:
        raise UserError(f"--calibration has no use at --precision {precision}; leave it out")
    return open_calibration(folder, sources.checkpoint.folder, precision)


def write_tables(checkpoint: Checkpoint, folder: Path, precision: Precision = "fp32") -> None:
    """Write the tokenizer and the embedding table into a bundle's folder."""
    from export.embedding_table import write_embeddings
    from export.manifest import TOKENIZER_FILE

    (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
    write_embeddings(checkpoint, folder, precision)


def _run_checks(
    sources: Sources, graphs: dict[str, GraphSpec], folder: Path, compare: bool
) -> tuple[Check, ...]:
    from export.check import check_steps, comparison_steps, format_checks, refuse_failures
    from export.formats import QUANTIZED

    made_from = folder, graphs, sources.checkpoint, sources.codec
    checks = _run_steps(check_steps(*made_from))
    if compare:
        print(_COMPARISON)
        checks += _run_steps(comparison_steps(*made_from))
    print(format_checks(checks), flush=True)
    if not compare:
        print("  not compared with PyTorch: --compare does it")
    calibrated = any(graph.precision in QUANTIZED for graph in graphs.values())
    refuse_failures(checks, calibrated=calibrated)
    return tuple(checks)


def _run_steps(steps: dict[str, Step]) -> list[Check]:
    checks = []
    for name, step in steps.items():
        with _progress(name):
            checks += step()
    return checks


@contextmanager
def _progress(name: str) -> Iterator[None]:
    """Print what is being done, and the seconds it took."""
    started = time.perf_counter()
    print(f"{name} ...", end=" ", flush=True)
    try:
        yield
    except BaseException:
        print(flush=True)  # end the line: an error message follows
        raise
    print(f"{time.perf_counter() - started:.1f} s", flush=True)


def _print_summary(manifest: Manifest, output: Path, seconds: float) -> None:
    from export.next_command import example_command
    from export.writing_check import may_answer

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
_COMPARISON_TAKES = """some seconds for a model of the demo's size, a minute or two at the published
size, longer beside other work"""
_COMPARE_HELP = f"""compare what the graphs compute with PyTorch: {_COMPARISON_TAKES} (default:
where PyTorch is installed)"""
_COMPARISON = (
    f"compare with PyTorch: {' '.join(_COMPARISON_TAKES.split())}; --no-compare leaves it out"
)
_ACTIVATION_HELP = """alias-free activations of the codec's decoder: standard operators (default),
or one node each that a TensorRT plugin can replace (docs/gpu-kernels.md)"""
_POSITIONS_HELP = """longest prompt and speech together, in positions (default: what the
checkpoint was trained for; in the portable dialect, whose caches have a fixed size that every
step pays for, 512 and 30 s of speech at most)"""


if __name__ == "__main__":
    sys.exit(main())
