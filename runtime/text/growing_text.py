"""A text that comes in pieces, such as a language model writes it, cut while it grows.

In: pieces of text, cut anywhere. Out: sentences, each as soon as it is sure where it ends. It does
not know clocks: somebody else says when a pause was long enough to be an end.

A stop may belong to an abbreviation, so a sentence is sure to have ended when the first word behind
it is whole. Sentences are those of the whole text, except where words further away decide: line
breaks within a paragraph, and sentences that no model has room for.
"""

from __future__ import annotations

import re
from typing import Literal

from runtime.text.sentences import cut_clauses, cut_sentences, ends_here
from runtime.text.typed_text import has_words

Granularity = Literal["none", "sentence", "clause"]
MOST_CHARACTERS = 2_000  # without an end; then a space will do
PATIENCE = 32  # a rest is looked at again when it has grown by the 32nd part: looking costs time
LEAST_CLAUSE = 12  # characters; shorter pieces sound cut off

_WHOLE_WORD = re.compile(r"\S\s")
_WIDE_END = re.compile(r"[。！？][\"'”’»)\\\]」』】）]*\s*$")
_LAST_SPACE = re.compile(r"\s(?=\S*$)")


class GrowingText:
    """One text. granularity: what is handed out as soon as it is complete; with "none", the whole
    text at its end."""

    def __init__(self, granularity: Granularity = "sentence") -> None:
        self._granularity = granularity
        self._rest = ""
        self._is_begun = False  # whether a sentence was handed out
        self._next_look = 0  # characters that the rest must have

    @property
    def rest(self) -> str:
        """What has not been handed out."""
        return self._rest

    def feed(self, text: str) -> list[str]:
        """The sentences that are complete now."""
        self._rest += text
        if self._granularity == "none" or len(self._rest) < self._next_look:
            return []
        if text.isascii() and not re.search(r"\s", text):
            return []
        space = self._rest[len(self._rest.rstrip()) :]
        is_paragraph = space.count("\n") > 1
        return self._take(len(self._rest) if is_paragraph else self._settled())

    def pause(self) -> list[str]:
        """Nothing came for a while: a sentence that looks complete is."""
        if self._granularity == "none" or not ends_here(self._rest):
            return []
        return self._take(len(self._rest))

    def finish(self) -> list[str]:
        """The rest; nothing more comes."""
        if self._granularity == "none" or (not self._is_begun and len(self._cut(self._rest)) == 1):
            rest, self._rest = self._rest, ""  # a single sentence stays what it is
            return [rest] if has_words(rest) else []
        return self._take(len(self._rest))

    def _settled(self) -> int:
        """Characters up to the last end that is sure."""
        settled = end = 0
        for piece in self._cut(self._rest)[:-1]:
            end += len(piece)
            if _WIDE_END.search(piece) or _WHOLE_WORD.search(self._rest, end):
                settled = end
        while len(self._rest) - settled > MOST_CHARACTERS:
            most = settled + MOST_CHARACTERS
            space = _LAST_SPACE.search(self._rest, settled, most)
            settled = space.end() if space else most
        return settled

    def _take(self, end: int) -> list[str]:
        """Hand out so many characters, in sentences. Those without words are left out."""
        taken, self._rest = self._rest[:end], self._rest[end:]
        self._next_look = len(self._rest) + len(self._rest) // PATIENCE
        pieces = [" ".join(piece.split()) for piece in self._cut(taken) if has_words(piece)]
        self._is_begun |= bool(pieces)
        return pieces

    def _cut(self, text: str) -> list[str]:
        sentences = cut_sentences(text)
        if self._granularity != "clause":
            return sentences
        return [piece for sentence in sentences for piece in cut_clauses(sentence, LEAST_CLAUSE)]
