"""A text that is written in memory of the host: backbone and text head take turns.

In: graphs that work on their caller's memory, and embeddings. Out: tokens, and a loop that goes on
with speech in the same memory, so that nothing is read twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import names
from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.graph import Array, BindableGraph, Call, Graph, States, allocate
from runtime.engines.host_rows import HostRows, begin_context
from runtime.engines.rows import RowLoop


class HostText:
    """See `runtime.engines.texts.Text`."""

    def __init__(
        self,
        backbone: BindableGraph,
        text_head: BindableGraph,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        capacity: int,
    ) -> None:
        width = prompt.shape[2]
        self._backbone = backbone
        self._begun = begin_context(backbone, capacity)
        self._length = np.zeros(1, np.int64)
        self._hidden = np.zeros((1, capacity, width), np.float32)
        self._embedding = np.zeros((1, 1, width), np.float32)
        self._latest = np.zeros((1, 1, width), np.float32)  # hidden state of the last position
        self._turn = 0  # the turn at which the backbone reads its states
        self._head = {
            tensor.name: allocate(tensor, {})
            for tensor in (*text_head.spec.inputs, *text_head.spec.outputs)
            if tensor.name != names.HIDDEN
        }
        drawn = {**self._head, names.HIDDEN: self._latest}
        self._draw = text_head.bind(drawn, drawn, States(text_head.spec, {}))
        self._step = self._bind(self._embedding, self._latest)
        self._set_sampling(sampling)
        self._read_prompt(prompt)

    @property
    def length(self) -> int:
        return int(self._length[0])

    def draw(self, random: np.random.Generator) -> int:
        random.random(out=self._head[names.NOISE], dtype=np.float32)
        self._draw.run(0)
        return int(self._head[names.TOKEN][0])

    def read(self, embeddings: NDArray[np.float32]) -> None:
        """Of one token."""
        self._embedding[:] = embeddings
        self._run(self._step)
        self._hidden[:, self._length[0]] = self._latest[:, 0]
        self._length += 1

    def continue_rows(self, head: Graph, streams: int) -> RowLoop:
        assert isinstance(head, BindableGraph), head
        hidden = self._hidden[:, : self._length[0]]
        context = replace(self._begun, hidden=hidden, turn=self._turn)
        return HostRows(self._backbone, head, streams, 1, context)

    def _set_sampling(self, sampling: SamplingDefaults) -> None:
        """Settings stay the same for the whole text; the repetition penalty is for speech."""
        self._head[names.TEMPERATURE][0] = sampling.temperature
        self._head[names.TOP_K][0] = sampling.top_k
        self._head[names.TOP_P][0] = sampling.top_p

    def _read_prompt(self, prompt: Array) -> None:
        positions = prompt.shape[1]
        hidden = self._hidden[:, :positions]
        self._run(self._bind(np.ascontiguousarray(prompt), hidden))
        self._latest[:] = hidden[:, -1:]
        self._length += positions

    def _run(self, call: Call) -> None:
        call.run(self._turn)
        self._turn = 1 - self._turn

    def _bind(self, embeddings: Array, hidden: Array) -> Call:
        tensors = {
            names.INPUTS_EMBEDS: embeddings,
            names.PAST_LENGTH: self._length,
            names.HIDDEN: hidden,
        }
        return self._backbone.bind(tensors, tensors, self._begun.states)
