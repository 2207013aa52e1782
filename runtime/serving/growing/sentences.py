"""What one caller still wants to be said: sentences in order, and the ends of utterances.

In: pieces of text, from whoever reads the connection. Out: sentences, to whoever speaks them. An
utterance is what stands between two ends. What waits is bounded. It does not know the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from runtime.serving.errors import RequestFailed
from runtime.serving.requests import SpeechRequest
from runtime.serving.speaking import Speaking
from runtime.text.growing_text import Granularity, GrowingText

MOST_ENDS = 256  # that may wait: they have no bytes to count


@dataclass(frozen=True)
class Sentence:
    """A sentence of an utterance, both counted from 0. request: how it is said; its `input` is not
    used."""

    utterance: int
    index: int
    text: str
    request: SpeechRequest


@dataclass(frozen=True)
class End:
    """An utterance has no more sentences than these."""

    utterance: int
    sentences: int


class SentenceQueue:
    """Of one caller: one task adds, another takes."""

    def __init__(self, speaking: Speaking) -> None:
        self._speaking = speaking
        self._items: deque[Sentence | End] = deque()
        self._has_items = asyncio.Event()
        self._waiting_bytes = self._waiting_ends = 0  # of sentences; ends of utterances
        self._utterance = 0
        self._begin_utterance()

    def _begin_utterance(self) -> None:
        self._text: GrowingText | None = None
        self._request: SpeechRequest | None = None
        self._count = 0  # sentences so far

    @property
    def utterance(self) -> int:
        """The one that text is added to."""
        return self._utterance

    @property
    def is_open(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._text is not None

    @property
    def is_pausing(self) -> bool:
        """Whether text is there that may be a sentence if nothing more comes."""
        return self._text is not None and bool(self._text.rest)

    @property
    def is_empty(self) -> bool:
        return not self._items

    async def add(self, text: str, request: SpeechRequest, granularity: Granularity) -> None:
        """More text. request and granularity count for an utterance that begins with it.

        Raises:
            RequestFailed: too much text waits.
        """
        if self._text is None or self._request is None:
            self._text, self._request = GrowingText(granularity), request
        self._check_room(text)
        growing = self._text
        self._put(await self._speaking.read(growing.feed, text))

    async def pause(self) -> None:
        """No text came for a while."""
        if self._text is not None:
            self._put(await self._speaking.read(self._text.pause))

    async def finish(self) -> None:
        """The utterance ends; it may be empty.

        Raises:
            RequestFailed: too many ends wait.
        """
        if self._waiting_ends >= MOST_ENDS:
            message = f"{MOST_ENDS} utterances wait to be spoken"
            raise RequestFailed(413, message, code="too_much_text")
        if self._text is not None:
            self._put(await self._speaking.read(self._text.finish))
        self._append(End(self._utterance, self._count))
        self._waiting_ends += 1
        self._utterance += 1
        self._begin_utterance()

    def drop(self) -> None:
        """Nothing of what waits is wanted any more; an open utterance is over."""
        self._items.clear()
        self._waiting_bytes = self._waiting_ends = 0
        self._utterance += self.is_open
        self._begin_utterance()

    async def take(self) -> Sentence | End:
        """The next item; waits for it."""
        while not self._items:
            self._has_items.clear()
            await self._has_items.wait()
        item = self._items.popleft()
        if isinstance(item, Sentence):
            self._waiting_bytes -= _size(item.text)
        else:
            self._waiting_ends -= 1
        return item

    def _put(self, pieces: list[str]) -> None:
        assert self._request is not None
        for piece in pieces:
            self._append(Sentence(self._utterance, self._count, piece, self._request))
            self._count += 1
            self._waiting_bytes += _size(piece)

    def _append(self, item: Sentence | End) -> None:
        self._items.append(item)
        self._has_items.set()

    def _check_room(self, text: str) -> None:
        most = self._speaking.settings.max_text_bytes
        rest = self._text.rest if self._text is not None else ""
        if self._waiting_bytes + _size(rest) + _size(text) > most:
            message = f"more than {most} bytes of text wait to be spoken"
            raise RequestFailed(413, message, param="text", code="too_much_text")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
