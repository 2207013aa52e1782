"""Decoding: requests in, speech frames out, step by step, for one text or several side by side.

In: the backbone and head graphs of a bundle, and requests: prompts that end in `<sosp>`, settled
sampling settings, a source of noise and a bound. Out: steps, each with the frames that it
completed. It does not know text, tokenizers, audio or engines. Multi-token and next-token models
take the same path, because the head graph says how many of its codes to keep and what to feed
back.

`SpeechDecoder` is loaded once and holds no state. Each loop that it opens has its own state, so
loops can run in different threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.manifest import Manifest
from runtime.engines.graph import BindableGraph, Graph, LoopingGraph, OpenRows
from runtime.engines.host_rows import HostRows
from runtime.engines.rows import DRAWN, SETTINGS, Request, RowLoop, Step
from runtime.engines.texts import Text

_HEAD_TENSORS = (names.HIDDEN, names.NOISE, *SETTINGS, *DRAWN)


def check_max_steps(max_steps: int | None) -> None:
    """Raises `UserError` for a bound that allows no step."""
    if max_steps is not None and max_steps < 1:
        raise UserError(f"max_steps is {max_steps}; give 1 or more")


def bound_steps(
    manifest: Manifest, text_tokens: int, prompt_positions: int, max_steps: int | None = None
) -> int:
    """At most how many steps a text takes: some models fail to stop.

    max_steps: the user's own bound, if there is one.

    Raises:
        UserError: the prompt leaves no room in the model's positions.
    """
    most = manifest.language_model.max_positions
    room = most - prompt_positions
    if room < 1:
        raise UserError(
            f"the text takes {prompt_positions} of {most} positions "
            "and leaves no room for speech; shorten it"
        )
    bound = min(room, count_steps(manifest, text_tokens))
    return bound if max_steps is None else min(bound, max_steps)


def count_steps(manifest: Manifest, text_tokens: int) -> int:
    """How many steps the length of a text allows, whatever the room in the model."""
    length = manifest.length
    frames = length.extra_frames + length.frames_per_token * text_tokens
    return max(1, math.ceil(frames / manifest.frames_per_step))


class SpeechDecoder:
    """Backbone and head of a bundle, on any engine."""

    def __init__(self, backbone: Graph, head: Graph, manifest: Manifest) -> None:
        _require(backbone, (names.INPUTS_EMBEDS, names.PAST_LENGTH, names.HIDDEN))
        _require(head, (*_HEAD_TENSORS, names.NEXT_EMBEDDING))
        self._backbone, self._head = backbone, head
        self._streams = len(manifest.codec.streams)
        self._open: OpenRows = self._open_on_host
        if isinstance(backbone, LoopingGraph):
            self._open = backbone.prepare_rows(head, self._streams)

    @property
    def rows(self) -> int:
        """How many rows one loop can have at most."""
        assert isinstance(self._backbone, BindableGraph | LoopingGraph), self._backbone
        return self._backbone.rows

    def open_rows(self, room: int | None = None) -> RowLoop:
        """A loop for several texts side by side: they join and leave between steps.

            with decoder.open_rows(16) as loop:
                row = loop.add(request)
                while loop.rows:
                    for step in loop.step(): ...

        room: how many rows can be live at a time; None takes as many as the engine can.

        Raises:
            UserError: more rows than the engine was built for, or no memory for them.
        """
        room = self.rows if room is None else room
        if not 1 <= room <= self.rows:
            raise UserError(
                f"{room} rows side by side; this engine takes 1 to {self.rows}: export it again "
                "with --rows for more"
            )
        return self._open(room)

    def steps(self, request: Request, text: Text | None = None) -> Iterator[Step]:
        """Decode one text; the last step has `stop` unless the bound cut it.

        text: what the model has written before it speaks, with room for the prompt and the steps.
        Closing the iterator ends the work.
        """
        loop = text.continue_rows(self._head, self._streams) if text else self.open_rows(1)
        with closing(loop):
            row = loop.add(request)
            while not row.ended:
                yield from loop.step()

    def _open_on_host(self, room: int) -> HostRows:
        assert isinstance(self._backbone, BindableGraph), self._backbone
        assert isinstance(self._head, BindableGraph), self._head
        return HostRows(self._backbone, self._head, self._streams, room)


def _require(graph: Graph, tensors: tuple[str, ...]) -> None:
    described = {tensor.name for tensor in (*graph.spec.inputs, *graph.spec.outputs)}
    missing = [name for name in tensors if name not in described]
    if missing:
        raise UserError(f"{graph.spec.file}: has no tensor {missing[0]}; export the bundle again")
