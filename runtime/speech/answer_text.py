"""The text of an answer: written token by token, and handed out as it grows.

In: what begins a text on an engine, a bundle's prompts, and the embeddings of a question. Out: the
answer's text in pieces, without what the template puts around it; then the tokens, and the text
after which the answer can be spoken. It does not know speech.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.manifest import ChatSpec, SamplingDefaults
from runtime.engines.texts import BeginText, Text
from runtime.speech.prompt import PromptReader
from runtime.speech.text_decoding import TextDecoder


class AnswerWriter:
    """Writes answers by the rules of a bundle's chat template."""

    def __init__(self, begin: BeginText, prompts: PromptReader, spec: ChatSpec) -> None:
        self._decoder = TextDecoder(begin, prompts.embed_token)
        self._prompts = prompts
        self._spec = spec
        # Text heads of earlier exports can draw speech codes. Those end the text as well.
        self._ends = prompts.find_speech_tokens() | {spec.speech_start_id, spec.text_end_id}

    def write(
        self,
        prompt: NDArray[np.float32],
        sampling: SamplingDefaults,
        random: np.random.Generator,
        max_tokens: int,
        capacity: int,
    ) -> Generator[str, None, tuple[list[int], Text]]:
        """Yield the text of the answer. Returns its tokens, the last of which ends it unless the
        bound cut it, and the text, which has read the prompt and all tokens but the last.

        prompt: float32 [1, positions, hidden_size]. max_tokens: at most so many are written.
        capacity: positions that the returned text has room for.
        """
        writing = self._decoder.write(prompt, sampling, random, self._ends, max_tokens, capacity)
        tokens: list[int] = []
        told = ""
        while True:
            try:
                tokens.append(next(writing))
            except StopIteration as finished:
                return tokens, finished.value
            text = self._spell(tokens, is_whole=len(tokens) == max_tokens)
            if len(text) > len(told):
                yield text[len(told) :]
                told = text

    def is_end(self, token: int) -> bool:
        """Whether the token ends a text, rather than being a part of it."""
        return token in self._ends

    def _spell(self, tokens: list[int], *, is_whole: bool) -> str:
        has_end = self.is_end(tokens[-1])
        text = self._prompts.spell(tokens[:-1] if has_end else tokens)
        return answer_in(text, self._spec, is_whole=is_whole or has_end)


def answer_in(written: str, spec: ChatSpec, *, is_whole: bool) -> str:
    """The answer in a text that a model wrote, without what the template puts around it.

    is_whole: the text is complete. Otherwise only the part is returned that cannot change any more.
    """
    text = written.removeprefix(spec.before_answer)
    if is_whole:
        return text.removesuffix(spec.after_answer).rstrip()
    if spec.before_answer.startswith(written):
        return ""
    text = text.removesuffix("\N{REPLACEMENT CHARACTER}")  # the first bytes of a character
    begun = (spec.after_answer[:length] for length in range(len(spec.after_answer), 0, -1))
    return text.removesuffix(next((end for end in begun if text.endswith(end)), "")).rstrip()
