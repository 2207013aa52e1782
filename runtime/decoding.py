"""The step loop: prompt embeddings in, speech frames out, one step at a time.

In: the backbone and head graphs of a bundle, embeddings of a prompt that ends in `<sosp>`, and
settled sampling settings. Out: an iterator of steps, each with the frames it completed.
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

from runtime import bundle as names
from runtime.bundle import LanguageModelSpec, LengthBound, SamplingDefaults
from runtime.errors import UserError
from runtime.sessions.graph import (
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
    frames = length.extra_frames + length.frames_per_token * text_tokens
    return max(1, min(room, math.ceil(frames / frames_per_step(model))))


class SpeechDecoder:
    """Steps of speech, by the rules that hold for every engine."""

    def __init__(self, backbone: Graph, head: Graph) -> None:
        _require(backbone, [names.INPUTS_EMBEDS, names.PAST_LENGTH, names.HIDDEN])
        _require(head, [names.HIDDEN, names.PAST_SEEN, *_SAMPLING_INPUTS, *_HEAD_OUTPUTS])
        seen = next(tensor for tensor in head.spec.inputs if tensor.name == names.PAST_SEEN)
        self._entries = int(seen.shape[-1])
        self._head = head
        self._loop = _make_loop(backbone, head)

    def steps(
        self,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        random: np.random.Generator,
        max_steps: int,
    ) -> Iterator[Step]:
        """Decode at most `max_steps` steps; the last one has `stop` unless the bound cut it.

        prompt: float32 [1, positions, hidden_size]. Closing the iterator ends the work.
        """
        pending: list[int] = []  # of a frame that is not complete yet
        settings = self._settings(sampling)
        with closing(self._loop.steps(prompt, settings, random, max_steps)) as drawn_steps:
            for drawn in drawn_steps:
                pending.extend(drawn.codes[: drawn.kept].tolist())
                yield Step(_take_frames(pending), drawn.stop)
                if drawn.stop:
                    return

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

    def __init__(self, backbone: BindableGraph, head: BindableGraph) -> None:
        self._backbone = backbone
        self._head = head

    def steps(
        self,
        prompt: NDArray[np.float32],
        settings: Mapping[str, Array],
        random: np.random.Generator,
        max_steps: int,
    ) -> Generator[Drawn, None, None]:
        """See `StepLoop`."""
        utterance = _Utterance(self._backbone, self._head, prompt, settings, max_steps)
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
        max_steps: int,
    ) -> None:
        positions = prompt.shape[1]
        dimensions = {names.CAPACITY: positions + max_steps}
        self._graphs = (backbone, head)
        self._states = [States(graph.spec, dimensions) for graph in self._graphs]
        self.tensors: dict[str, Array] = {names.PAST_LENGTH: np.zeros(1, np.int64), **settings}
        for tensor in (*head.spec.inputs, *head.spec.outputs):
            if tensor.name in (names.NOISE, *_HEAD_OUTPUTS):
                self.tensors[tensor.name] = allocate(tensor, {})
        self._positions = positions  # of the next step
        self._calls = self._bind(np.ascontiguousarray(prompt))
        self._is_prompt = True

    def advance(self) -> None:
        """One step: the first one reads the prompt, later ones the embedding that the head left."""
        for call in self._calls:
            call.run()
        self.tensors[names.PAST_LENGTH][0] += self._positions
        if self._is_prompt:
            self._is_prompt = False
            self._positions = 1
            self._calls = self._bind(self.tensors[names.NEXT_EMBEDDING])

    def _bind(self, embeddings: Array) -> list[Call]:
        hidden = np.zeros_like(embeddings)
        tensors = {**self.tensors, names.INPUTS_EMBEDS: embeddings, names.HIDDEN: hidden}
        return [
            graph.bind(tensors, tensors, states)
            for graph, states in zip(self._graphs, self._states, strict=True)
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
