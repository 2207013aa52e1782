"""What keys and values in few bits cost: a table in docs/calibration.md.

In: the float32 bundle of graphs, and native bundles of the same model that differ in `--cache`.
Out: a table of how far the codes' distributions are from the reference's, on the same inputs. The
reference speaks sentences and the native backbones read that speech position by position; all
hidden states go through the reference's head, so nothing but the backbone and its cache differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_limit
from commands.progress import progress
from commands.run import run_command
from commands.tables import markdown_table
from runtime.bundle.names import NATIVE, ONNXRUNTIME

if TYPE_CHECKING:
    from calibration.measurement.fidelity import Fidelity
    from calibration.measurement.teacher_forcing import Follower
    from calibration.measurement.utterances import EmbeddedUtterance
    from export.checks.native_engine import NativeEngine
    from runtime.bundle.loading import Bundle

SENTENCES = Path(__file__).parents[1] / "samples" / "evaluation"
LISTS = tuple(SENTENCES / f"{name}.txt" for name in ("everyday", "harvard", "hard", "long"))


def measure(
    utterance: EmbeddedUtterance, follower: Follower, engines: Mapping[str, NativeEngine]
) -> Iterator[Fidelity]:
    """Each engine's distance from the reference on one utterance."""
    from calibration.measurement.fidelity import compare_scores

    expected = follower.scores(utterance)
    for engine in engines.values():
        one_by_one = [1] * utterance.embeddings.shape[1]
        hidden = engine.hidden_states(utterance.embeddings, one_by_one)[None]
        yield compare_scores([expected], [follower.follow_head(hidden, utterance.prompt)])


def load(folder: Path, kind: str) -> Bundle:
    """Raises `UserError` for a bundle of another kind."""
    from runtime.bundle.loading import load_bundle

    bundle = load_bundle(folder)
    if bundle.manifest.engine.kind != kind:
        raise UserError(f"{folder}: is for {bundle.manifest.engine.kind}, not for {kind}")
    return bundle


def run(arguments: argparse.Namespace) -> None:
    """Speak, read again, and print the table."""
    from calibration.measurement.teacher_forcing import Follower
    from calibration.measurement.utterances import UtteranceMaker, read_texts
    from export.checks.native_engine import NativeEngine
    from export.readers.checkpoint import open_checkpoint

    reference = load(arguments.reference, ONNXRUNTIME)
    native = {str(folder): load(folder, NATIVE) for folder in arguments.engine}
    engines = {name: NativeEngine(one.folder, one.manifest) for name, one in native.items()}
    texts = read_texts(arguments.texts)[: arguments.limit]
    with progress("speak", len(texts), to_stderr=True) as stage:
        maker = UtteranceMaker(reference, open_checkpoint(arguments.model), threads=1)
        utterances = list(stage.track(maker.say(texts)))
    longest = max(each.embeddings.shape[1] for each in utterances)
    follower = Follower.load(reference.folder, reference.manifest.graphs, longest)
    with progress("compare", len(texts), to_stderr=True) as stage:
        found = [list(measure(each, follower, engines)) for each in stage.track(utterances)]
    steps = [each.steps for each in utterances]
    print(f"{len(texts)} sentences, {sum(steps)} steps, at most {longest} positions")
    print(format_figures(engines, found, steps), end="")


def format_figures(
    engines: Mapping[str, NativeEngine], found: Sequence[Sequence[Fidelity]], steps: Sequence[int]
) -> str:
    """A Markdown table. found: of each utterance, and each engine in it. Means are of steps."""
    import numpy as np

    divergences, agreements = (
        np.array([[getattr(each, name) for each in row] for row in found])
        for name in ("kl_divergence", "agreement")
    )
    rows = []
    for index, (name, engine) in enumerate(engines.items()):
        more = divergences[:, index] - divergences[:, 0]
        mean = np.average(more, weights=steps)
        error = more.std() / np.sqrt(len(more))
        rows.append(
            [
                name,
                engine.cache,
                f"{np.average(divergences[:, index], weights=steps):.5f}",
                f"{100 * np.average(agreements[:, index], weights=steps):.2f} %",
                f"{mean:+.5f} ± {error:.5f}" if index else "–",
            ]
        )
    titles = ["bundle", "cache", "KL, nats", "same best code", "KL beyond the first's"]
    return markdown_table(titles, rows)


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.cache_formats", "Measure what keys and values in few bits cost."
    )
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="DIR", help="the float32 bundle of graphs")
    add("--model", type=Path, required=True, metavar="DIR", help="the checkpoint of all bundles")
    add(
        "--engine",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="a native bundle; can be given several times; the others are compared with the first",
    )
    add(
        "--texts",
        type=Path,
        nargs="+",
        default=LISTS,
        metavar="FILE",
        help="sentences, one a line (default: four lists of samples/evaluation)",
    )
    add_limit(parser, "sentences")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
