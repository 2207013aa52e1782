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
from typing import TYPE_CHECKING

from runtime.errors import run_cli

if TYPE_CHECKING:
    from export.checkpoint import Checkpoint
    from export.graph import Graph, Precision
    from export.sources import Sources
    from runtime.bundle import Check, GraphSpec, Manifest

DEMO_HEADS = 6  # understood best: docs/performance.md
DIALECTS = ("ort", "portable")
PRECISIONS = ("fp32",)
CODEC_ACTIVATIONS = ("operators", "plugin")
DEFAULT_OUTPUT = "engine"

DESCRIPTION = """\
Turn a speech language model and its codec into an engine directory that
python -m runtime.tts speaks from. The graphs are written from the checkpoint's
tensors and checked in ONNX Runtime, and against PyTorch where it is installed.
A failure leaves nothing behind, and an engine that was there before untouched."""

EXAMPLES = """\
examples:
  hear the demo voice:
    python -m export.build
    python -m runtime.tts --engine engine "They know it." -o out.wav
  bring a checkpoint and the published FACodec, with two voices:
    python -m export.build --model my-model --codec facodec \\
        --voice anna=anna.wav --voice ben=ben.safetensors --output my-engine
  for an engine that knows standard ONNX operators only:
    python -m export.build --model my-model --codec facodec --dialect portable"""


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


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    arguments = vars(_make_parser().parse_args(argv))
    voices = tuple(arguments.pop("voice"))
    build_bundle(BuildOptions(voices=voices, **arguments))


def build_bundle(options: BuildOptions) -> Manifest:
    """Export to `options.output`, printing progress; returns the manifest that was written.

    Raises:
        UserError: an input that does not fit, or a check that failed; nothing is written.
        OSError: a full disk, no permission; nothing is written.
    """
    from export.bundle_writer import bundle_folder, publish_bundle
    from export.manifest import describe_bundle
    from export.voices import write_voices
    from runtime.bundle import CODEC_ENCODER

    started = time.perf_counter()
    with bundle_folder(options.output) as folder:
        sources = _open_sources(options)
        graphs = _write_graphs(sources, options, folder)
        with _progress("voices, tokenizer, embeddings"):
            voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER])
            _write_tables(sources.checkpoint, folder)
        checks = _run_checks(sources, graphs, folder)
        manifest = describe_bundle(
            sources.checkpoint, sources.codec.config, options.dialect, graphs, voices, checks
        )
        with _progress("hash and write to disk"):
            manifest = publish_bundle(folder, manifest, options.output)
    _print_summary(manifest, options.output, time.perf_counter() - started)
    return manifest


def _open_sources(options: BuildOptions) -> Sources:
    from export.sources import find_sources, open_sources

    demo_heads = DEMO_HEADS if options.heads is None else options.heads
    folders = find_sources(options.model, options.codec, options.voices, demo_heads)
    with _progress(f"read {folders.model} and {folders.codec}"):
        return open_sources(folders, options.heads, options.max_positions)


def _write_graphs(sources: Sources, options: BuildOptions, folder: Path) -> dict[str, GraphSpec]:
    """Build and save one graph after the other."""
    graphs = {}
    for graph in _build_graphs(sources, options):
        with _progress(f"write {graph.name}"):
            graphs[graph.name] = graph.save(folder)
    return graphs


def _build_graphs(sources: Sources, options: BuildOptions) -> Iterator[Graph]:
    from export.codec_decoder import build_codec_decoder
    from export.codec_encoder import build_codec_encoder
    from export.language_model import language_model_graphs

    dialect, precision = options.dialect, options.precision
    yield from language_model_graphs(
        sources.checkpoint, dialect, precision, with_text_head=options.text_head
    )
    yield build_codec_decoder(sources.codec, dialect, precision, options.codec_activation)
    yield build_codec_encoder(sources.codec, dialect, precision)


def _write_tables(checkpoint: Checkpoint, folder: Path) -> None:
    from export.embedding_table import write_embeddings
    from export.manifest import TOKENIZER_FILE

    (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
    write_embeddings(checkpoint, folder)


def _run_checks(sources: Sources, graphs: dict[str, GraphSpec], folder: Path) -> tuple[Check, ...]:
    from export.check import check_steps, format_checks, parity_is_possible, refuse_failures

    checks: list[Check] = []
    for name, step in check_steps(folder, graphs, sources.checkpoint, sources.codec).items():
        with _progress(name):
            checks += step()
    print(format_checks(checks), flush=True)
    if not parity_is_possible():
        print("  not compared with PyTorch: torch or transformers is not installed here")
    refuse_failures(checks)
    return tuple(checks)


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
    size_mb = sum(record.size_bytes for record in manifest.files.values()) / 1e6
    voices = ", ".join(manifest.voices) or "none: give runtime.tts a --voice FILE"
    print(f"{output}: {size_mb:.1f} MB, {seconds:.1f} s; voices: {voices}")
    print(f'speak: python -m runtime.tts --engine {output} "They know it." -o out.wav')


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    add("--precision", choices=PRECISIONS, default="fp32", help="number format of the weights")
    add("--dialect", choices=DIALECTS, default="ort", help=_DIALECT_HELP)
    add("--codec-activation", choices=CODEC_ACTIVATIONS, default="operators", help=_ACTIVATION_HELP)
    add("--text-head", action="store_true", help="also export the head that writes text")
    add("--max-positions", type=int, metavar="N", help=_POSITIONS_HELP)
    return parser


_HEADS_HELP = f"""codes a step: 3, 6, 12 ..., or 1 for a next-token model; with --model it must be
the checkpoint's, without it chooses the demo voice (default: {DEMO_HEADS})"""
_CODEC_HELP = """codec: codec.json with codec.safetensors, or the published
ns3_facodec_encoder_v2.bin and ns3_facodec_decoder_v2.bin"""
_VOICE_HELP = """a voice of the engine: a recording (16 kHz or any other rate, 30 s at most) or a
.safetensors file; there can be several, the first is the default"""
_OUTPUT_HELP = f"engine directory to write or replace (default: {DEFAULT_OUTPUT})"
_DIALECT_HELP = """operators: ort is fastest in ONNX Runtime (default), portable is standard ONNX"""
_ACTIVATION_HELP = """alias-free activations of the codec's decoder: standard operators (default),
or one node each that a TensorRT plugin can replace (docs/gpu-kernels.md)"""
_POSITIONS_HELP = """longest prompt and speech together, in positions (default: what the
checkpoint was trained for)"""


if __name__ == "__main__":
    sys.exit(main())
