"""Texts that a model writes: what an engine must provide for them.

In: graphs of backbone and text head, and the embeddings of a prompt. Out: a text that grows token
by token, and after which speech goes on in the same memory. It knows no tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.graph import BindableGraph, Graph
from runtime.engines.host_texts import HostText
from runtime.engines.rows import RowLoop


class Text(Protocol):
    """A prompt, and what the model has read after it. One thread at a time may use it."""

    @property
    def length(self) -> int:
        """Positions that were read."""

    def draw(self, random: np.random.Generator) -> int:
        """The token after the last position. It is not read yet."""

    def read(self, embeddings: NDArray[np.float32]) -> None:
        """Let the backbone read float32 [1, positions, hidden_size]: what comes next."""

    def continue_rows(self, head: Graph, streams: int) -> RowLoop:
        """A loop of one row, whose prompt goes on after the text. Nothing is drawn afterwards."""


# Prompt float32 [1, positions, hidden_size], sampling settings, and positions in all: of the
# prompt, the text and the speech.
BeginText = Callable[[NDArray[np.float32], SamplingDefaults, int], Text]


@runtime_checkable
class WritingGraph(Graph, Protocol):
    """A backbone whose engine keeps what it has read."""

    def begin_text(
        self,
        text_head: Graph,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        capacity: int,
    ) -> Text:
        """Read a prompt; see `BeginText`."""


def find_writer(backbone: Graph, text_head: Graph) -> BeginText | None:
    """How these graphs write texts; None if their engine cannot do that."""
    if isinstance(backbone, WritingGraph):
        return lambda *asked: backbone.begin_text(text_head, *asked)
    if isinstance(backbone, BindableGraph) and isinstance(text_head, BindableGraph):
        return lambda *asked: HostText(backbone, text_head, *asked)
    return None
