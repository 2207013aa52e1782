"""Models in which some weights are quantized, written, run and compared with the float32 one.

In: a checkpoint, quantized weights by name, and held-out utterances. Out: `Fidelity`. The graphs
are those that an export would write, operator by operator, in the dialect that is asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calibration.measurement.fidelity import Fidelity, compare_scores
from calibration.measurement.teacher_forcing import Follower
from calibration.measurement.utterances import Utterance
from commands.progress import Track
from export.language_model.graphs import language_model_graphs
from export.quantization.products import quantized_formats
from export.readers.checkpoint import Checkpoint
from formats.calibration.quantized_weight import QuantizedWeight
from formats.number_formats import FormatName
from formats.weights import Array


@dataclass(frozen=True)
class Judge:
    """Holds what all candidates are compared on.

    reference: scores of the float32 model for each of the utterances.
    """

    checkpoint: Checkpoint
    dialect: str
    precision: FormatName
    utterances: Sequence[Utterance]
    reference: Sequence[Array]
    threads: int = 1

    def judge(
        self,
        weights: Mapping[str, QuantizedWeight],
        track: Track = iter,
    ) -> Fidelity:
        """The fidelity of the model with exactly these weights quantized.

        track: what the utterances pass through on their way, to see how far it is.
        """
        formats = quantized_formats(weights, self.dialect)
        with tempfile.TemporaryDirectory(prefix="candidate-") as scratch:
            folder = Path(scratch)
            graphs = language_model_graphs(self.checkpoint, self.dialect, self.precision, formats)
            specs = {graph.name: graph.save(folder) for graph in graphs}
            capacity = max(utterance.embeddings.shape[1] for utterance in self.utterances)
            follower = Follower.load(folder, specs, capacity, threads=self.threads)
            scores = [follower.scores(utterance) for utterance in track(self.utterances)]
        return compare_scores(self.reference, scores)
