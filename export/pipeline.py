"""An export: a checkpoint and a codec become a bundle, checked and complete, or nothing.

In: options, which name directories with a language model and a codec, and voices. Out: the bundle
and its manifest. Needs no torch, except to read pickled `.bin` files and to compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from commands.errors import UserError
from commands.progress import progress
from export.bundle.embedding_table import write_embeddings
from export.bundle.manifest import TOKENIZER_FILE, describe_bundle
from export.bundle.next_command import calibration_command
from export.bundle.voices import write_voices
from export.bundle.writer import bundle_folder, publish_bundle
from export.checks.check import (
    Step,
    check_steps,
    comparison_steps,
    decide_comparison,
    format_checks,
    refuse_failures,
)
from export.checks.frontend_check import describe_symbols, find_lacking
from export.checks.writing_check import why_no_answers
from export.codec.decoder import build_codec_decoder
from export.codec.encoder import build_codec_encoder
from export.graph.graph import Graph
from export.graph.precisions import QUANTIZED
from export.language_model.graphs import language_model_graphs
from export.options import CODEC_PRECISIONS, COMPARISON_TAKES, CPU_ROWS, DEMO_HEADS, BuildOptions
from export.quantization.convolutions import quantized_convolutions
from export.quantization.products import quantized_formats, require_known
from export.readers.checkpoint import Checkpoint
from export.readers.codec_checkpoint import CodecCheckpoint
from export.sources import Sources, find_sources, open_sources
from formats.calibration_folder import Calibration, open_calibration
from runtime.bundle.manifest import Check, GraphSpec, Manifest, Precision
from runtime.bundle.names import CODEC_ENCODER

_COMPARISON = (
    f"compare with PyTorch: {' '.join(COMPARISON_TAKES.split())}; --no-compare leaves it out"
)


def build_bundle(options: BuildOptions) -> Manifest:
    """Export to `options.output`, printing progress; returns the manifest that was written.

    Raises:
        UserError: an input that does not fit, or a check that failed; nothing is written.
        OSError: a full disk, no permission; nothing is written.
    """
    compare = decide_comparison(options.compare)
    with bundle_folder(options.output) as folder:
        sources = _open_sources(options)
        _tell_of_text(sources.checkpoint)
        if options.text_head:
            _tell_of_answers(sources.checkpoint)
        graphs = _write_graphs(sources, options, folder)
        with progress("voices, tokenizer, embeddings"):
            voices = write_voices(sources.voices, folder, graphs[CODEC_ENCODER])
            write_tables(sources.checkpoint, folder, options.precision)
        checks = _run_checks(sources, graphs, folder, compare)
        manifest = describe_bundle(
            sources.checkpoint,
            sources.codec.config,
            options.dialect,
            graphs,
            voices,
            checks,
            _rows(options),
        )
        with progress("hash and write to disk"):
            return publish_bundle(folder, manifest, options.output)


def _open_sources(options: BuildOptions) -> Sources:

    demo_heads = DEMO_HEADS if options.heads is None else options.heads
    folders = find_sources(options.model, options.codec, options.voices, demo_heads)
    with progress(f"read {folders.model} and {folders.codec}"):
        return open_sources(
            folders,
            options.heads,
            options.max_positions,
            fixed_capacity=options.dialect == "portable",
        )


def _tell_of_text(checkpoint: Checkpoint) -> None:
    """Say which symbols of its texts the model has not learnt."""
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
    if (why := why_no_answers(checkpoint)) is not None:
        print(
            f"warning: {checkpoint.folder}: {why}, so it cannot answer and --text-head is of no "
            "use; a model that was trained on questions is samples/demo_chat/6-heads (docs/chat.md)"
        )


def _write_graphs(sources: Sources, options: BuildOptions, folder: Path) -> dict[str, GraphSpec]:
    """Build and save one graph after the other."""
    graphs = {}
    for graph in _build_graphs(sources, options):
        with progress(f"write {graph.name}"):
            graphs[graph.name] = graph.save(folder, _rows(options))
    return graphs


def _rows(options: BuildOptions) -> int:
    return CPU_ROWS if options.rows is None else options.rows


def _build_graphs(sources: Sources, options: BuildOptions) -> Iterator[Graph]:

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

    (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
    write_embeddings(checkpoint, folder, precision)


def _run_checks(
    sources: Sources, graphs: dict[str, GraphSpec], folder: Path, compare: bool
) -> tuple[Check, ...]:

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
        with progress(name):
            checks += step()
    return checks
