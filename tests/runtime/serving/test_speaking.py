"""Chunks on their way into an event loop: whoever stops listening has cancelled the rest."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from runtime.scheduling.speech import Order, Speech, SpeechFailed, State
from runtime.serving.speaking import chunks_of
from runtime.speech.schedule import ChunkSchedule
from runtime.speech.spoken import Chunk
from runtime.speech.synthesis import TTS

CHUNK = Chunk(np.zeros(4, np.float32), 16_000, np.zeros((1, 3), np.int64))


@pytest.fixture
def speech(tts: TTS) -> Speech:
    return Speech(1, Order(tts.prepare("Abc."), ChunkSchedule(2, 2.0, 16)), lambda: None)


def test_who_stops_listening_has_cancelled(speech: Speech) -> None:
    async def listen() -> None:
        speech.put(CHUNK)
        async with aclosing(chunks_of(speech)) as chunks:
            async for _ in chunks:
                break

    asyncio.run(listen())
    assert speech.is_cancelled
    speech.put(CHUNK)  # the engine is not disturbed by a loop that has ended


def test_a_cancelled_task_has_cancelled_its_speech(speech: Speech) -> None:
    async def listen() -> None:
        async with aclosing(chunks_of(speech)) as chunks:
            async for _ in chunks:
                pass

    async def leave() -> None:
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        assert not speech.is_cancelled
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening

    asyncio.run(leave())
    assert speech.is_cancelled


def test_all_chunks_come_and_then_the_end(speech: Speech) -> None:
    async def listen() -> int:
        heard = 0
        async with aclosing(chunks_of(speech)) as chunks:
            async for _ in chunks:
                heard += 1
                if heard < 3:
                    speech.put(CHUNK)
                else:
                    speech.end(State.DONE)
        return heard

    speech.put(CHUNK)
    assert asyncio.run(listen()) == 3


def test_a_failure_is_raised_behind_the_last_chunk(speech: Speech) -> None:
    heard = []

    async def listen() -> None:
        async with aclosing(chunks_of(speech)) as chunks:
            async for chunk in chunks:
                heard.append(chunk)

    speech.put(CHUNK)
    speech.end(State.FAILED, "the engine failed")
    with pytest.raises(SpeechFailed, match="the engine failed"):
        asyncio.run(listen())
    assert heard == [CHUNK]


def test_a_failure_behind_the_last_question_is_no_end(
    speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a part would be taken for the whole."""
    take = Speech.take

    def take_and_fail(speech: Speech, *, wait: bool = False) -> Chunk | None:
        chunk = take(speech, wait=wait)
        speech.end(State.FAILED, "no such step")
        return chunk

    async def listen() -> list[Chunk]:
        async with aclosing(chunks_of(speech)) as chunks:
            return [chunk async for chunk in chunks]

    monkeypatch.setattr(Speech, "take", take_and_fail)
    with pytest.raises(SpeechFailed, match="no such step"):
        asyncio.run(listen())
