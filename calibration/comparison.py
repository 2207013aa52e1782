"""Compares bundles of fewer bits with the float32 bundle: distance, size and speed.

In: the float32 bundle, others of the same model, and texts. Out: a `Comparison` for each. The
float32 model speaks the texts, and all models then get the inputs of that speech, so that figures
are of the same steps. `python -m runtime.profile` measures the speed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from calibration.measurement.fidelity import compare_scores
from calibration.measurement.teacher_forcing import Follower
from calibration.measurement.utterances import EmbeddedUtterance, UtteranceMaker
from commands.errors import UserError
from commands.progress import Track, progress
from export.bundle.manifest import MODEL_HASH
from export.readers.checkpoint import open_checkpoint
from formats.calibration.record import hash_model
from formats.weights import Array
from runtime.bundle.loading import Bundle, load_bundle
from runtime.bundle.names import BACKBONE, NATIVE

REFERENCE = "fp32"
ROWS_COMPARED = 500  # of the embedding table


@dataclass(frozen=True)
class Comparison:
    """One bundle. Sizes are of backbone and head; times are medians."""

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
    reference: Path, others: Mapping[str, Path], model: Path, texts: Sequence[str], runs: int
) -> list[Comparison]:
    """Compare the reference and each bundle with the reference.

    runs: of the profile; 0 leaves speed out.

    Raises:
        UserError: a bundle is damaged, of another model, or holds plans or packed weights, or the
            reference has another precision than fp32.
    """
    bundles = {REFERENCE: load_bundle(reference)}
    bundles |= {name: load_bundle(folder) for name, folder in others.items()}
    _check_bundles(bundles, model)
    with progress("speak", len(texts)) as stage:
        maker = UtteranceMaker(bundles[REFERENCE], open_checkpoint(model), threads=1)
        utterances = list(stage.track(maker.say(texts)))
    compared: list[Comparison] = []
    expected: list[Array] = []
    for name, bundle in bundles.items():
        with progress(name, len(utterances)) as stage:
            scores = _score(bundle, utterances, stage.track)
            expected = expected or scores
            compared.append(_compare(name, bundle, expected, scores, runs))
    return compared


def _compare(
    name: str, bundle: Bundle, expected: Sequence[Array], scores: Sequence[Array], runs: int
) -> Comparison:
    fidelity = compare_scores(expected, scores)
    return Comparison(
        name,
        bundle.graph(BACKBONE).precision,
        bundle.manifest.engine.dialect,
        fidelity.kl_divergence,
        fidelity.agreement,
        _measure_size_mb(bundle),
        **(_measure_speed(bundle.folder, runs) if runs else {}),
    )


def _check_bundles(bundles: Mapping[str, Bundle], model: Path) -> None:
    """Refuse bundles that differ in more than precision and capacity."""
    reference, checkpoint = bundles[REFERENCE], hash_model(model)
    expected = _identity(reference)
    for name, bundle in bundles.items():
        _check_origin(name, bundle, model, checkpoint)
        found = _identity(bundle)
        differing = [part for part in expected if found[part] != expected[part]]
        if differing:
            raise UserError(
                f"{bundle.folder}: {name} is of another model than {REFERENCE} "
                f"({reference.folder}): another {' and another '.join(differing)}"
            )
    precision = reference.graph(BACKBONE).precision
    if precision != REFERENCE:
        raise UserError(
            f"{reference.folder}: is in {precision}; --reference takes the bundle in {REFERENCE}: "
            f"python -m export.build --target onnxruntime --model {model} …"
        )


def _check_origin(name: str, bundle: Bundle, model: Path, checkpoint: str) -> None:
    """Raise `UserError` unless the graphs were made from the checkpoint with this hash."""
    engine = bundle.manifest.engine
    if engine.plans is not None:
        raise UserError(
            f"{bundle.folder}: {name} holds plans for {engine.kind}, which are not compared; take "
            "the bundle of graphs that they were made from"
        )
    if engine.kind == NATIVE:
        raise UserError(
            f"{bundle.folder}: {name} holds packed weights, whose scores cannot be read; export "
            "it again with --target onnxruntime and take that"
        )
    made_from = bundle.manifest.built_with.get(MODEL_HASH)
    if made_from is None:
        raise UserError(
            f"{bundle.folder}: {name} does not say which checkpoint it was made from; export it "
            "again with python -m export.build --target onnxruntime"
        )
    if made_from != checkpoint:
        raise UserError(
            f"{bundle.folder}: {name} was not made from {model}; --model takes the directory of "
            "a checkpoint, not of a bundle"
        )


def _identity(bundle: Bundle) -> dict[str, object]:
    """Facts that are the same in all bundles of one model."""
    manifest = bundle.manifest
    return {
        "size or kind": msgspec.structs.replace(manifest.language_model, max_positions=1),
        "prompt": manifest.prompt,
        "tokenizer": manifest.files[manifest.tokenizer].sha256,
        "embedding table": _some_embeddings(bundle),
    }


def _some_embeddings(bundle: Bundle) -> bytes:
    """Rows from all over the table, in float16, as bundles of fewer bits may hold them."""
    table = np.load(bundle.path(bundle.manifest.embeddings), mmap_mode="r", allow_pickle=False)
    rows = np.linspace(0, len(table) - 1, ROWS_COMPARED).astype(int)
    with np.errstate(over="ignore"):
        return repr(table.shape).encode() + table[rows].astype(np.float16).tobytes()


def _score(bundle: Bundle, utterances: Sequence[EmbeddedUtterance], track: Track) -> list[Array]:
    capacity = max(utterance.embeddings.shape[1] for utterance in utterances)
    follower = Follower.load(bundle.folder, bundle.manifest.graphs, capacity)
    return [follower.scores(utterance) for utterance in track(utterances)]


def _measure_size_mb(bundle: Bundle) -> float:
    """Files of the backbone and the head."""
    graphs = [bundle.manifest.graphs[name] for name in (BACKBONE, bundle.manifest.head)]
    files = [file for graph in graphs for file in (graph.file, graph.weights) if file]
    return sum(bundle.manifest.files[file].size_bytes for file in files) / 1e6


def _measure_speed(folder: Path, runs: int) -> dict[str, float]:
    """Profile in a new process, so that memory of one bundle does not count for the next."""
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
