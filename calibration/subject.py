"""The interface between the pipeline and the models that can be calibrated.

A subject is a model with weights to quantize. It writes and loads graphs, and compares a quantized
model's results with the float32 model's. `calibration.language_model` and
`calibration.codec_decoder` are the two subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from calibration.goals import Found
from calibration.measurement.following import Follow, Loading
from calibration.measurement.statistics import StatisticsCollector
from calibration.measurement.utterances import EmbeddedUtterance
from calibration.methods.quantize import Recipe
from calibration.sensitivity import Sensitivity, Weights
from export.sources import Sources
from formats.precisions import FormatName
from formats.weights import Array


class Subject(Protocol[Found]):
    """A model to calibrate. `Found` says how far a candidate is from the float32 model."""

    @property
    def sources(self) -> Sources:
        """The model, codec and voices that utterances are made with."""

    @property
    def folder(self) -> Path:
        """The checkpoint that the calibration is for."""

    @property
    def parts(self) -> str:
        """The word for what is quantized, for messages: "weights" or "convolutions"."""

    def load_observed(self, loading: Loading, recipe: Recipe) -> tuple[Follow, StatisticsCollector]:
        """The float32 graphs, and a collector for the inputs of their products."""

    def load_candidate(self, loading: Loading, precision: FormatName, weights: Weights) -> Follow:
        """Graphs with exactly these weights quantized, as an export would write them."""

    def compare(self, reference: Sequence[Array], found: Sequence[Array]) -> Found:
        """How far a candidate's results are from those of the float32 graphs."""

    def count_positions(self, utterance: EmbeddedUtterance) -> int:
        """How many positions of the utterance are observed."""

    def write_report(
        self, folder: Path, sensitivity: Sensitivity[Found], excluded: Sequence[str]
    ) -> None:
        """Write the cost of each weight into the calibration, for people."""
