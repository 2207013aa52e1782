"""`python -m calibration.compare`: how far are engines of fewer bits from the float32 one, and
how much smaller and faster?

In: the float32 engine, others of the same model, and texts. Out: a table, and JSON on request.
The float32 engine speaks the texts; all engines are led through that speech, so that figures
are of the same steps. Speed is what `python -m runtime.profile` says of each engine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli
from formats.files.atomic import check_target, write_atomically

if TYPE_CHECKING:
    from calibration.measurement.utterances import Utterance
    from commands.progress import Track
    from formats.weights import Array
    from runtime.bundle.loading import Bundle

DEFAULT_RUNS = 3
REFERENCE = "fp32"
ROWS_COMPARED = 500  # of the embedding table


@dataclass(frozen=True)
class Row:
    """One engine. Sizes are of backbone and head; times are medians."""

    name: str
    precision: str
    dialect: str
    kl_divergence: float  # nats a code
    agreement: float
    size_mb: float
    step_ms: float | None = None
    head_ms: float | None = None
    real_time_factor: float | None = None
    peak_memory_mb: float | None = None


def compare(
    reference: Path, engines: dict[str, Path], model: Path, texts: Sequence[str], runs: int
) -> list[Row]:
    """A row for the reference and for each engine. runs: of the profile; 0 leaves speed out.

    Raises:
        UserError: an engine that is damaged or of another model.
    """
    from calibration.measurement.utterances import UtteranceMaker
    from commands.progress import progress
    from export.readers.checkpoint import open_checkpoint
    from runtime.bundle.loading import load_bundle
    from runtime.bundle.names import BACKBONE

    bundles = {REFERENCE: load_bundle(reference)}
    bundles |= {name: load_bundle(folder) for name, folder in engines.items()}
    _check_bundles(bundles, model)
    with progress("speak", len(texts)) as stage:
        maker = UtteranceMaker(bundles[REFERENCE], open_checkpoint(model), threads=1)
        utterances = list(stage.track(maker.say(texts)))
    rows, expected = [], None
    for name, bundle in bundles.items():
        with progress(name, len(utterances)) as stage:
            scores = _scores(bundle, utterances, stage.track)
            expected = expected or scores
            graph = bundle.manifest.graphs[BACKBONE]
            dialect = bundle.manifest.engine.dialect
            rows.append(_row(name, graph.precision, dialect, bundle, expected, scores, runs))
    return rows


def _row(
    name: str,
    precision: str,
    dialect: str,
    bundle: Bundle,
    expected: Sequence[Array],
    scores: Sequence[Array],
    runs: int,
) -> Row:
    from calibration.measurement.fidelity import compare_scores

    fidelity = compare_scores(expected, scores)
    figures = _measure_speed(bundle.folder, runs) if runs else {}
    return Row(
        name,
        precision,
        dialect,
        fidelity.kl_divergence,
        fidelity.agreement,
        _size_mb(bundle),
        **figures,
    )


def _check_bundles(bundles: dict[str, Bundle], model: Path) -> None:
    """Engines may differ in bits and in room, and in nothing else."""
    from export.bundle.manifest import MODEL_HASH
    from formats.calibration.record import hash_model

    reference = bundles[REFERENCE]
    expected, checkpoint = _identity(reference), hash_model(model)
    for name, bundle in bundles.items():
        found = _identity(bundle)
        differing = [part for part in expected if found[part] != expected[part]]
        made_from = bundle.manifest.built_with.get(MODEL_HASH, checkpoint)  # older exports lack it
        if made_from != checkpoint:
            raise UserError(
                f"{bundle.folder}: {name} was made from another checkpoint than {model}"
            )
        if differing:
            raise UserError(
                f"{bundle.folder}: {name} is of another model than {REFERENCE} "
                f"({reference.folder}): another {' and another '.join(differing)}"
            )


def _identity(bundle: Bundle) -> dict[str, object]:
    """What all engines of one model have in common."""
    import msgspec

    manifest = bundle.manifest
    return {
        "size or kind": msgspec.structs.replace(manifest.language_model, max_positions=1),
        "prompt": manifest.prompt,
        "tokenizer": manifest.files[manifest.tokenizer].sha256,
        "embedding table": _some_embeddings(bundle),
    }


def _some_embeddings(bundle: Bundle) -> bytes:
    """Rows from all over the table, in float16: engines of fewer bits may hold it so."""
    import numpy as np

    table = np.load(bundle.path(bundle.manifest.embeddings), mmap_mode="r", allow_pickle=False)
    rows = np.linspace(0, len(table) - 1, ROWS_COMPARED).astype(int)
    with np.errstate(over="ignore"):
        return repr(table.shape).encode() + table[rows].astype(np.float16).tobytes()


def _scores(bundle: Bundle, utterances: Sequence[Utterance], track: Track) -> list[Array]:
    from calibration.measurement.teacher_forcing import Follower

    capacity = max(utterance.embeddings.shape[1] for utterance in utterances)
    follower = Follower.load(bundle.folder, bundle.manifest.graphs, capacity)
    return [follower.scores(utterance) for utterance in track(utterances)]


def _size_mb(bundle: Bundle) -> float:
    """Files of the backbone and the head."""
    from runtime.bundle.names import BACKBONE

    graphs = [bundle.manifest.graphs[name] for name in (BACKBONE, bundle.manifest.head)]
    files = [file for graph in graphs for file in (graph.file, graph.weights) if file]
    return sum(bundle.manifest.files[file].size_bytes for file in files) / 1e6


def _measure_speed(folder: Path, runs: int) -> dict[str, float]:
    """In a process of its own, as the memory of one engine is not to count for the next."""
    with tempfile.TemporaryDirectory(prefix="profile-") as scratch:
        path = Path(scratch) / "profile.json"
        command = [sys.executable, "-m", "runtime.profile", "--engine", str(folder)]
        command += ["--runs", str(runs), "--json", str(path)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        if finished.returncode:
            raise UserError(f"{folder}: cannot be profiled: {finished.stderr.strip()}")
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        "step_ms": report["stages_ms"]["step"]["p50"],
        "head_ms": report["stages_ms"]["head"]["p50"],
        "real_time_factor": report["real_time_factor"]["p50"],
        "peak_memory_mb": report["peak_memory_mb"],
    }


def format_rows(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| engine | precision | dialect | KL, nats | same best code | backbone + head "
        "| step | head | real-time factor | peak memory |",
        "|" + " --- |" * 10,
    ]
    for row in rows:
        speed = ["–"] * 4
        if row.step_ms is not None:
            speed = [
                f"{row.step_ms:.1f} ms",
                f"{row.head_ms:.1f} ms",
                f"{row.real_time_factor:.2f}",
                f"{row.peak_memory_mb:.0f} MiB",
            ]
        cells = [
            row.name,
            row.precision,
            row.dialect,
            f"{row.kl_divergence:.4f}",
            f"{row.agreement:.1%}",
            f"{row.size_mb:.1f} MB",
            *speed,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _command(argv: Sequence[str] | None) -> None:
    arguments = _make_parser().parse_args(argv)
    if arguments.json:
        check_target(arguments.json)
    engines = dict(_parse_engine(engine) for engine in arguments.engine)
    from calibration.measurement.utterances import read_texts

    texts = read_texts(arguments.texts)[: arguments.limit]
    rows = compare(arguments.reference, engines, arguments.model, texts, arguments.runs)
    print(format_rows(rows))
    if arguments.json:
        content = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
        write_atomically(arguments.json, content.encode())


def _parse_engine(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name or name == REFERENCE:
        raise UserError(f"--engine {text}: write NAME=DIR, as in int8=engine-int8")
    return name, Path(folder)


def _make_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m calibration.compare",
        description="Compare engines of fewer bits with the float32 engine of the same model.",
    )
    add = parser.add_argument
    add("--reference", type=Path, required=True, metavar="DIR", help="the float32 engine")
    add("--engine", action="append", required=True, metavar="NAME=DIR", help="another; repeat it")
    add("--model", type=Path, required=True, metavar="DIR", help="the checkpoint of all of them")
    add(
        "--texts", type=Path, nargs="+", required=True, metavar="FILE", help="sentences, one a line"
    )
    add("--limit", type=int, metavar="N", help="only the first N sentences")
    add("--runs", type=int, default=DEFAULT_RUNS, metavar="N", help=_RUNS_HELP)
    add("--json", metavar="FILE", help="write all figures")
    return parser


_RUNS_HELP = f"runs of runtime.profile for each engine; 0: no speed (default: {DEFAULT_RUNS})"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


if __name__ == "__main__":
    sys.exit(main())
