"""The text loop: prompt embeddings in, text tokens out, one at a time.

In: the backbone and text head graphs of a bundle, embeddings of a prompt, settled sampling
settings, and a function that embeds a token. Out: tokens up to one that ends the text, and the
backbone's memory, in which `runtime.speech.decoding` continues with speech, so that nothing is read
twice. One text is written at a time. It does not know tokenizers, speech or audio.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import names
from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.graph import Array, BindableGraph, Call, States, allocate
from runtime.engines.host_rows import Context, begin_context

EmbedToken = Callable[[int], NDArray[np.float32]]  # a token -> float32 [1, 1, hidden_size]


class TextDecoder:
    """Backbone and text head, taking turns."""

    def __init__(
        self, backbone: BindableGraph, text_head: BindableGraph, embed: EmbedToken
    ) -> None:
        self._backbone = backbone
        self._head = text_head
        self._embed = embed

    def write(
        self,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        random: np.random.Generator,
        ends: Collection[int],
        max_tokens: int,
        capacity: int,
    ) -> Generator[int, None, Context]:
        """Yield at most `max_tokens` tokens; the last one is one of `ends` unless the bound cut it.

        prompt: float32 [1, positions, hidden_size]. Returns the context (`yield from` gives it):
        it holds the prompt and all tokens but the last, which has not been read yet, and has room
        for `capacity` positions.
        """
        text = _Text(self._backbone, self._head, prompt, max_tokens, capacity)
        text.set_sampling(sampling)
        for written in range(1, max_tokens + 1):
            token = text.draw(random)
            yield token
            if token in ends or written == max_tokens:
                break
            text.read(self._embed(token))
        return text.context()


class _Text:
    """The memory of one text, and the calls bound to it."""

    def __init__(
        self,
        backbone: BindableGraph,
        head: BindableGraph,
        prompt: Array,
        max_tokens: int,
        capacity: int,
    ) -> None:
        positions, width = prompt.shape[1:]
        self._backbone = backbone
        self._begun = begin_context(backbone, capacity)
        self._length = np.zeros(1, np.int64)
        self._hidden = np.zeros((1, positions + max_tokens - 1, width), np.float32)
        self._embedding = np.zeros((1, 1, width), np.float32)
        self._latest = np.zeros((1, 1, width), np.float32)  # hidden state of the last position
        self._turn = 0  # the turn at which the backbone reads its states
        self._head = {
            tensor.name: allocate(tensor, {})
            for tensor in (*head.spec.inputs, *head.spec.outputs)
            if tensor.name != names.HIDDEN
        }
        drawn = {**self._head, names.HIDDEN: self._latest}
        self._draw = head.bind(drawn, drawn, States(head.spec, {}))
        self._read(prompt, self._hidden[:, :positions])
        self._latest[:] = self._hidden[:, positions - 1 : positions]
        self._step = self._bind(self._embedding, self._latest)

    def set_sampling(self, sampling: SamplingDefaults) -> None:
        """Settings stay the same for the whole text; the repetition penalty is for speech."""
        self._head[names.TEMPERATURE][0] = sampling.temperature
        self._head[names.TOP_K][0] = sampling.top_k
        self._head[names.TOP_P][0] = sampling.top_p

    def draw(self, random: np.random.Generator) -> int:
        """The token after the last position."""
        random.random(out=self._head[names.NOISE], dtype=np.float32)
        self._draw.run(0)
        return int(self._head[names.TOKEN][0])

    def read(self, embedding: NDArray[np.float32]) -> None:
        """Let the backbone read a token."""
        self._embedding[:] = embedding
        self._step.run(self._turn)
        self._turn = 1 - self._turn
        self._hidden[:, self._length[0]] = self._latest[:, 0]
        self._length += 1

    def context(self) -> Context:
        """The backbone's memory of everything that it has read."""
        return replace(self._begun, hidden=self._hidden[:, : self._length[0]], turn=self._turn)

    def _read(self, prompt: Array, hidden: Array) -> None:
        self._bind(np.ascontiguousarray(prompt), hidden).run(self._turn)
        self._turn = 1 - self._turn
        self._length += prompt.shape[1]

    def _bind(self, embeddings: Array, hidden: Array) -> Call:
        tensors = {
            names.INPUTS_EMBEDS: embeddings,
            names.PAST_LENGTH: self._length,
            names.HIDDEN: hidden,
        }
        return self._backbone.bind(tensors, tensors, self._begun.states)
