"""What can be calibrated, as the pipeline sees it.

A subject is a model with weights to quantize. It writes and loads graphs, and compares what a
quantized model makes of utterances with what the float32 one makes of them.
`calibration.language_model` and `calibration.codec_decoder` are the two subjects.
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
        """What the utterances are made with."""

    @property
    def folder(self) -> Path:
        """The checkpoint that the calibration is for."""

    @property
    def parts(self) -> str:
        """What is quantized, for messages: "weights", "convolutions"."""

    def load_observed(self, loading: Loading, recipe: Recipe) -> tuple[Follow, StatisticsCollector]:
        """The float32 graphs, and a collector for what flows into their products."""

    def load_candidate(self, loading: Loading, precision: FormatName, weights: Weights) -> Follow:
        """Graphs with exactly these weights quantized, as an export would write them."""

    def compare(self, reference: Sequence[Array], found: Sequence[Array]) -> Found:
        """How far a candidate's results are from the float32 graphs' results."""

    def count_positions(self, utterance: EmbeddedUtterance) -> int:
        """How many positions of the utterance are observed."""

    def write_report(
        self, folder: Path, sensitivity: Sensitivity[Found], excluded: Sequence[str]
    ) -> None:
        """Write what each weight costs into the calibration, for people."""
