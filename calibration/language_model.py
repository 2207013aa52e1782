"""A language model as a subject of calibration: the products of its backbone and its head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from calibration.measurement.fidelity import Fidelity, compare_scores
from calibration.measurement.following import Follow, Loading
from calibration.measurement.reference import write_observed
from calibration.measurement.statistics import LinearStatistics
from calibration.measurement.teacher_forcing import Follower
from calibration.measurement.utterances import EmbeddedUtterance
from calibration.methods.quantize import Recipe
from calibration.sensitivity import Sensitivity, Weights
from calibration.sensitivity_report import write_sensitivity
from export.graph.precisions import GraphNumbers
from export.language_model.graphs import language_model_graphs
from export.quantization.products import quantized_formats
from export.sources import Sources
from formats.precisions import FormatName
from formats.weights import Array
from runtime.bundle.names import ORT


@dataclass(frozen=True)
class LanguageModel:
    """dialect: of the graphs that candidates are judged with. The scales fit both dialects."""

    sources: Sources
    dialect: str = ORT
    parts: ClassVar[str] = "weights"

    @property
    def folder(self) -> Path:
        return self.sources.checkpoint.folder

    def load_observed(self, loading: Loading, recipe: Recipe) -> tuple[Follow, LinearStatistics]:
        log, graphs = write_observed(self.sources.checkpoint, loading.folder)
        follower = Follower.load(
            loading.folder,
            graphs,
            _longest(loading.utterances),
            threads=loading.threads,
            watched=log.values_by_graph(),
        )
        return follower.scores, LinearStatistics(log, with_gram=recipe.chosen == "gptq")

    def load_candidate(self, loading: Loading, precision: FormatName, weights: Weights) -> Follow:
        formats = quantized_formats(weights, self.dialect)
        numbers = GraphNumbers(self.dialect, precision, formats)
        graphs = language_model_graphs(self.sources.checkpoint, numbers)
        specs = {graph.name: graph.save(loading.folder) for graph in graphs}
        capacity = _longest(loading.utterances)
        return Follower.load(loading.folder, specs, capacity, threads=loading.threads).scores

    def compare(self, reference: Sequence[Array], found: Sequence[Array]) -> Fidelity:
        return compare_scores(reference, found)

    def count_positions(self, utterance: EmbeddedUtterance) -> int:
        return utterance.embeddings.shape[1]

    def write_report(
        self, folder: Path, sensitivity: Sensitivity[Fidelity], excluded: Sequence[str]
    ) -> None:
        write_sensitivity(folder, sensitivity, excluded)


def _longest(utterances: Sequence[EmbeddedUtterance]) -> int:
    """Positions that graphs need room for."""
    return max(utterance.embeddings.shape[1] for utterance in utterances)
