"""The text loop: prompt embeddings in, text tokens out, one at a time.

In: what begins a text on an engine, embeddings of a prompt, settled sampling settings, and a
function that embeds a token. Out: tokens up to one that ends the text, and the text itself, in
which `runtime.speech.decoding` continues with speech, so that nothing is read twice. One text is
written at a time. It does not know tokenizers, speech or audio.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.manifest import SamplingDefaults
from runtime.engines.texts import BeginText, Text

EmbedToken = Callable[[int], NDArray[np.float32]]  # a token -> float32 [1, 1, hidden_size]


class TextDecoder:
    """Backbone and text head, taking turns."""

    def __init__(self, begin: BeginText, embed: EmbedToken) -> None:
        self._begin = begin
        self._embed = embed

    def write(
        self,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        random: np.random.Generator,
        ends: Collection[int],
        max_tokens: int,
        capacity: int,
    ) -> Generator[int, None, Text]:
        """Yield at most `max_tokens` tokens; the last one is one of `ends` unless the bound cut it.

        prompt: float32 [1, positions, hidden_size]. Returns the text (`yield from` gives it): it
        has read the prompt and all tokens but the last, and has room for `capacity` positions.
        """
        text = self._begin(prompt, sampling, capacity)
        for written in range(1, max_tokens + 1):
            token = text.draw(random)
            yield token
            if token in ends or written == max_tokens:
                break
            text.read(self._embed(token))
        return text
