"""A language model's graphs run on given utterances, at any precision.

In: saved graphs and `EmbeddedUtterance`s. Out: the scores of every step before a code is drawn, and
other values inside the graphs that a caller watches. The backbone reads an utterance in one call,
the head reads it step by step. No drawn code is fed back, so all models see the same inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.measurement.following import Watch
from calibration.measurement.utterances import EmbeddedUtterance
from export.checks.head_calls import greedy_inputs, head_name
from export.graph.runner import Arrays, GraphRunner
from export.language_model.sampling import SCORES
from formats.weights import Array
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import BACKBONE, HIDDEN, INPUTS_EMBEDS, PAST_LENGTH


@dataclass
class Follower:
    """Backbone and head of one model, loaded."""

    backbone: GraphRunner
    head: GraphRunner

    @classmethod
    def load(
        cls,
        folder: Path,
        graphs: Mapping[str, GraphSpec],
        capacity: int,
        *,
        threads: int = 1,
        watched: Mapping[str, Sequence[str]] | None = None,
    ) -> Follower:
        """capacity: positions of the longest utterance. watched: values by name of their graph."""
        watched, head = watched or {}, head_name(graphs)

        def load(name: str, *more: str) -> GraphRunner:
            values = (*more, *watched.get(name, ()))
            return GraphRunner(folder, graphs[name], capacity, threads, values)

        return cls(load(BACKBONE), load(head, SCORES))

    def scores(self, utterance: EmbeddedUtterance, watch: Watch | None = None) -> Array:
        """Scores float32 (steps, codes of a step, entries) of the utterance.

        watch: called with the values that the graphs were loaded to watch.
        """
        self.backbone.reset()
        start = np.zeros(1, np.int64)
        inputs: Arrays = {INPUTS_EMBEDS: utterance.embeddings, PAST_LENGTH: start}
        values = self.backbone.run(inputs)
        hidden = values[HIDDEN]
        if watch is not None:
            watch(values)
        return self.follow_head(hidden, utterance.prompt, watch)

    def follow_head(self, hidden: Array, prompt: int, watch: Watch | None = None) -> Array:
        """The head's scores, as `scores`, for hidden states (1, positions, H)."""
        self.head.reset()
        scores, past = [], 0
        for end in range(prompt, hidden.shape[1] + 1):
            values = self.head.run(greedy_inputs(self.head.spec, hidden[:, past:end], past))
            scores.append(values[SCORES][0].astype(np.float32))
            past = end
            if watch is not None:
                watch(values)
        return np.stack(scores)
