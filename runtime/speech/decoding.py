"""The step loop: prompt embeddings in, speech frames out, one step at a time.

In: the backbone and head graphs of a bundle, embeddings of a prompt that ends in `<sosp>`, and
settled sampling settings. Out: an iterator of steps, each with the frames it completed. What the
backbone has read and written before the prompt can be handed on to it (`Context`).
It does not know text, tokenizers, audio or engines; multi-token and next-token models take the
same path, because the head graph says how many of its codes to keep and what to feed back.

`SpeechDecoder` has the rules: when speech ends, which codes make frames, how long it may get.
Backbone and head take their turns in a `StepLoop`: the one here, which works on buffers of the
host, or the engine's own.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.manifest import LanguageModelSpec, LengthBound, SamplingDefaults
from runtime.engines.graph import (
    Array,
    BindableGraph,
    Call,
    Drawn,
    Graph,
    LoopingGraph,
    States,
    StepLoop,
    allocate,
)

CODES_PER_FRAME = 3  # content 1, content 2, prosody


@dataclass(frozen=True)
class Step:
    """What one step brought.

    frames: int64 [k, 3], columns (a, b, c); k is the step's group size, less at the end of speech,
        and 0 or 1 for a next-token model. stop: the model ended the utterance.
    """

    frames: NDArray[np.int64]
    stop: bool


@dataclass(frozen=True)
class Context:
    """What the backbone has gone through already, for one sequence.

    states: its caches, with room for `capacity` positions in all. hidden: float32 [1, length,
        hidden_size], the hidden states of all positions so far, which some heads look back on.
    """

    states: States
    capacity: int
    hidden: NDArray[np.float32]

    @property
    def length(self) -> int:
        """Positions so far."""
        return self.hidden.shape[1]


def frames_per_step(model: LanguageModelSpec) -> float:
    """1, 2, 4 … for 3, 6, 12 … heads; 1/3 for a next-token model."""
    return model.heads / CODES_PER_FRAME


def bound_steps(
    model: LanguageModelSpec, length: LengthBound, text_tokens: int, prompt_positions: int
) -> int:
    """How many steps a text may take at most: models can fail to stop.

    Raises:
        UserError: the prompt leaves no room in the model's positions.
    """
    room = model.max_positions - prompt_positions
    if room < 1:
        raise UserError(
            f"the text takes {prompt_positions} of {model.max_positions} positions "
            "and leaves no room for speech; shorten it"
        )
    return min(room, count_steps(model, length, text_tokens))


def count_steps(model: LanguageModelSpec, length: LengthBound, text_tokens: int) -> int:
    """How many steps a text of so many tokens may take, wherever it stands."""
    frames = length.extra_frames + length.frames_per_token * text_tokens
    return max(1, math.ceil(frames / frames_per_step(model)))


def begin_context(backbone: Graph, capacity: int) -> Context:
    """A sequence that has not begun, with room for `capacity` positions."""
    states = States(backbone.spec, {names.CAPACITY: capacity})
    hidden = next(tensor for tensor in backbone.spec.outputs if tensor.name == names.HIDDEN)
    return Context(states, capacity, np.zeros((1, 0, int(hidden.shape[-1])), np.float32))


class SpeechDecoder:
    """Steps of speech, by the rules that hold for every engine."""

    def __init__(self, backbone: Graph, head: Graph) -> None:
        _require(backbone, [names.INPUTS_EMBEDS, names.PAST_LENGTH, names.HIDDEN])
        _require(head, [names.HIDDEN, names.PAST_SEEN, *_SAMPLING_INPUTS, *_HEAD_OUTPUTS])
        seen = next(tensor for tensor in head.spec.inputs if tensor.name == names.PAST_SEEN)
        self._entries = int(seen.shape[-1])
        self._backbone, self._head = backbone, head
        self._loop = _make_loop(backbone, head)

    def steps(
        self,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        random: np.random.Generator,
        max_steps: int,
        context: Context | None = None,
    ) -> Iterator[Step]:
        """Decode at most `max_steps` steps; the last one has `stop` unless the bound cut it.

        prompt: float32 [1, positions, hidden_size]. context: what came before the prompt, with
        room for the prompt and the steps. Closing the iterator ends the work.
        """
        pending: list[int] = []  # of a frame that is not complete yet
        settings = self._settings(sampling)
        loop = self._loop if context is None else self._going_on(context)
        with closing(loop.steps(prompt, settings, random, max_steps)) as drawn_steps:
            for drawn in drawn_steps:
                pending.extend(drawn.codes[: drawn.kept].tolist())
                yield Step(_take_frames(pending), drawn.stop)
                if drawn.stop:
                    return

    def _going_on(self, context: Context) -> StepLoop:
        """A loop that begins with what the backbone has gone through. Only the host can do that."""
        assert isinstance(self._backbone, BindableGraph), self._backbone
        assert isinstance(self._head, BindableGraph), self._head
        return HostLoop(self._backbone, self._head, context)

    def _settings(self, sampling: SamplingDefaults) -> dict[str, Array]:
        """The head's inputs that stay the same for an utterance. top_k is at most its entries."""
        values = {
            names.TEMPERATURE: sampling.temperature,
            names.TOP_K: min(sampling.top_k, self._entries),
            names.TOP_P: sampling.top_p,
            names.REPETITION_PENALTY: sampling.repetition_penalty,
        }
        tensors = {tensor.name: tensor for tensor in self._head.spec.inputs}
        return {name: np.array([value], tensors[name].dtype) for name, value in values.items()}


def _make_loop(backbone: Graph, head: Graph) -> StepLoop:
    if isinstance(backbone, LoopingGraph):
        return backbone.step_loop(head)
    assert isinstance(backbone, BindableGraph), backbone
    assert isinstance(head, BindableGraph), head
    return HostLoop(backbone, head)


class HostLoop:
    """The loop on buffers of the host: a step is done when it is yielded."""

    def __init__(
        self, backbone: BindableGraph, head: BindableGraph, context: Context | None = None
    ) -> None:
        """context: what the backbone has gone through, with room for the prompt and the steps. A
        loop with one serves a single utterance."""
        self._backbone = backbone
        self._head = head
        self._context = context

    def steps(
        self,
        prompt: NDArray[np.float32],
        settings: Mapping[str, Array],
        random: np.random.Generator,
        max_steps: int,
    ) -> Generator[Drawn, None, None]:
        """See `StepLoop`."""
        context = self._context or begin_context(self._backbone, prompt.shape[1] + max_steps)
        utterance = _Utterance(self._backbone, self._head, prompt, settings, context)
        noise, codes = utterance.tensors[names.NOISE], utterance.tensors[names.CODES]
        kept, stop = utterance.tensors[names.KEPT_CODES], utterance.tensors[names.STOP]
        for _ in range(max_steps):
            random.random(out=noise, dtype=np.float32)
            utterance.advance()
            yield Drawn(codes.copy(), int(kept[0]), bool(stop[0]))


class _Utterance:
    """All memory of one utterance, and the calls bound to it."""

    def __init__(
        self,
        backbone: BindableGraph,
        head: BindableGraph,
        prompt: Array,
        settings: Mapping[str, Array],
        context: Context,
    ) -> None:
        head_states = States(head.spec, {names.CAPACITY: context.capacity})
        self._backbone, self._backbone_states = backbone, context.states
        self._head, self._head_states = head, head_states
        self._read = np.array([context.length], np.int64)  # positions in the backbone's cache
        self._heard = np.zeros(1, np.int64)  # positions in the head's
        self.tensors: dict[str, Array] = {**settings}
        for tensor in (*head.spec.inputs, *head.spec.outputs):
            if tensor.name in (names.NOISE, *_HEAD_OUTPUTS):
                self.tensors[tensor.name] = allocate(tensor, {})
        self._calls = self._bind(np.ascontiguousarray(prompt), context.hidden)
        self._is_prompt = True

    def advance(self) -> None:
        """One step: the first one reads the prompt, later ones the embedding that the head left."""
        for call in self._calls:
            call.run()
        self._read += self._positions
        self._heard[:] = self._read
        if self._is_prompt:
            self._is_prompt = False
            next_embedding = self.tensors[names.NEXT_EMBEDDING]
            self._calls = self._bind(next_embedding, before=np.zeros_like(next_embedding[:, :0]))

    def _bind(self, embeddings: Array, before: Array) -> list[Call]:
        """The backbone reads `embeddings`; the head hears of them and of the hidden states
        `before` them, which it has not heard of yet."""
        self._positions = embeddings.shape[1]
        hidden = np.concatenate([before, np.zeros_like(embeddings)], axis=1)
        read = {
            names.INPUTS_EMBEDS: embeddings,
            names.PAST_LENGTH: self._read,
            names.HIDDEN: hidden[:, before.shape[1] :],
        }
        heard = {**self.tensors, names.PAST_LENGTH: self._heard, names.HIDDEN: hidden}
        return [
            self._backbone.bind(read, read, self._backbone_states),
            self._head.bind(heard, heard, self._head_states),
        ]


_HEAD_OUTPUTS = (names.CODES, names.KEPT_CODES, names.STOP, names.NEXT_EMBEDDING)
_SAMPLING_INPUTS = (
    names.NOISE,
    names.TEMPERATURE,
    names.TOP_K,
    names.TOP_P,
    names.REPETITION_PENALTY,
)


def _require(graph: Graph, tensors: list[str]) -> None:
    described = {tensor.name for tensor in (*graph.spec.inputs, *graph.spec.outputs)}
    missing = [name for name in tensors if name not in described]
    if missing:
        raise UserError(f"{graph.spec.file}: has no tensor {missing[0]}; export the bundle again")


def _take_frames(pending: list[int]) -> NDArray[np.int64]:
    """Remove the complete frames from `pending` and return them as int64 [k, 3]."""
    whole = len(pending) - len(pending) % CODES_PER_FRAME
    frames = np.array(pending[:whole], np.int64).reshape(-1, CODES_PER_FRAME)
    del pending[:whole]
    return frames
