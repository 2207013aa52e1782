"""Judges ONNX files of the demo voice from another quantizer like this project's calibrations.

    python -m benchmarks.second_opinion prepare DIR
    python -m benchmarks.second_opinion judge DIR FOLDER [FOLDER …]

`prepare` writes `DIR/graphs`, a portable float32 bundle for the other tool to read. It also writes
`backbone.npz` and `mtp_head.npz`, inputs of each graph from the sentences that `calibration.run`
calibrates on; the first axis counts calls. `judge` runs a FOLDER's `backbone.onnx` and
`mtp_head.onnx` on the held-out sentences and prints their distance from float32.
docs/calibration.md describes the step between the two.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.extras import importing
from commands.run import run_command

with importing():
    import numpy as np

    from calibration.measurement.fidelity import compare_scores
    from calibration.measurement.reference import make_utterances, write_observed
    from calibration.measurement.teacher_forcing import Follower
    from calibration.measurement.utterances import EmbeddedUtterance, read_texts
    from export.checks.head_calls import greedy_inputs
    from export.graph.runner import Arrays, GraphRunner
    from export.options import DEMO_HEADS, ExportOptions, Numbers, Source
    from export.pipeline import build_bundle
    from export.sources import Sources, find_sources, open_sources
    from formats.weights import Array
    from runtime.bundle.manifest import GraphSpec, numpy_type, read_manifest
    from runtime.bundle.names import BACKBONE, HIDDEN, INPUTS_EMBEDS, MTP_HEAD, PAST_LENGTH

TEXTS = Path(__file__).parents[1] / "samples" / "calibration.txt"
GRAPHS = "graphs"
STRIDE = 4  # the head's inputs are of every fourth step


def prepare(folder: Path) -> None:
    """Write the graphs and their inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    source, numbers = Source(heads=DEMO_HEADS), Numbers(dialect="portable")
    build_bundle(ExportOptions(source, numbers, output=folder / GRAPHS))
    graphs = read_manifest(folder / GRAPHS).graphs
    calibrated, _ = _speak(_demo_voice())
    _save(folder / f"{BACKBONE}.npz", _backbone_inputs(graphs, calibrated))
    hidden = _hidden_states(folder / GRAPHS, graphs, calibrated)
    _save(folder / f"{MTP_HEAD}.npz", _head_inputs(graphs[MTP_HEAD], hidden))


def judge(folder: Path, candidates: Sequence[Path]) -> None:
    """Print KL divergence and agreement of each candidate."""
    graphs = read_manifest(folder / GRAPHS).graphs
    sources = _demo_voice()
    _, held_out = _speak(sources)
    capacity = max(utterance.embeddings.shape[1] for utterance in held_out)
    with tempfile.TemporaryDirectory() as scratch:
        _, specs = write_observed(sources.checkpoint, Path(scratch))
        reference = _scores(Path(scratch), specs, held_out, capacity)
    for candidate in candidates:
        found = compare_scores(reference, _scores(candidate, graphs, held_out, capacity))
        print(f"{candidate}: KL {found.kl_divergence:.4f}, {found.agreement:.1%} of best codes")


def _save(file: Path, inputs: Arrays) -> None:
    write: Callable[..., None] = np.savez_compressed  # its stub takes names for its own options
    write(file, **inputs)


def _demo_voice() -> Sources:
    return open_sources(find_sources(Source(heads=DEMO_HEADS)))


def _speak(sources: Sources) -> tuple[list[EmbeddedUtterance], list[EmbeddedUtterance]]:
    """The calibration sentences, split as `calibration.run` splits them."""
    with tempfile.TemporaryDirectory() as scratch:
        return make_utterances(sources, read_texts([TEXTS]), None, Path(scratch), threads=1)


def _backbone_inputs(
    graphs: Mapping[str, GraphSpec], utterances: Sequence[EmbeddedUtterance]
) -> Arrays:
    """The beginnings of all utterances, as long as the shortest; caches are empty."""
    shortest = min(utterance.embeddings.shape[1] for utterance in utterances)
    inputs = _empty_states(graphs[BACKBONE], len(utterances))
    inputs[INPUTS_EMBEDS] = np.concatenate([u.embeddings[:, :shortest] for u in utterances])
    inputs[PAST_LENGTH] = np.zeros(len(utterances), np.int64)
    return inputs


def _hidden_states(
    folder: Path, graphs: Mapping[str, GraphSpec], utterances: Sequence[EmbeddedUtterance]
) -> Array:
    """Hidden states (steps, H) of every fourth step of each utterance."""
    backbone, kept = GraphRunner(folder, graphs[BACKBONE]), []
    for utterance in utterances:
        backbone.reset()
        call: Arrays = {INPUTS_EMBEDS: utterance.embeddings, PAST_LENGTH: np.zeros(1, np.int64)}
        kept.append(backbone.run(call)[HIDDEN][0, utterance.prompt - 1 :][::STRIDE])
    return np.concatenate(kept)


def _head_inputs(head: GraphSpec, hidden: Array) -> Arrays:
    """A greedy call of the head for each of the hidden states (steps, H)."""
    calls = [greedy_inputs(head, state[None, None], 0) for state in hidden]
    together = {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}
    return _empty_states(head, len(hidden)) | together


def _empty_states(spec: GraphSpec, calls: int) -> Arrays:
    """Empty states of one row for each call."""
    states = {state.input for state in spec.states}
    return {
        tensor.name: np.zeros((calls, *map(int, tensor.shape[1:])), numpy_type(tensor.dtype))
        for tensor in spec.inputs
        if tensor.name in states
    }


def _scores(
    folder: Path,
    graphs: Mapping[str, GraphSpec],
    utterances: Sequence[EmbeddedUtterance],
    capacity: int,
) -> list[Array]:
    follower = Follower.load(folder, graphs, capacity)
    return [follower.scores(utterance) for utterance in utterances]


def run(arguments: argparse.Namespace) -> None:
    """Prepare or judge."""
    if arguments.action == "prepare":
        prepare(arguments.folder)
    else:
        judge(arguments.folder, arguments.candidates)


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.second_opinion", "Judge another quantizer's ONNX files of the demo voice."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, purpose in (
        ("prepare", "write the graphs and their inputs"),
        ("judge", "compare another tool's files with float32"),
    ):
        action = actions.add_parser(name, help=purpose)
        action.add_argument("folder", type=Path, metavar="DIR", help="what `prepare` writes")
    action.add_argument(
        "candidates", type=Path, nargs="+", metavar="FOLDER", help="folders with both ONNX files"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
