"""Tasks that end together: the first failure is raised, and nobody goes on behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from runtime.serving.growing.tasks import Tasks

Scenario = Callable[[Tasks, list[str]], Coroutine[Any, Any, None]]


def run(scenario: Scenario) -> list[str]:
    """What was noted."""
    notes: list[str] = []

    async def work() -> None:
        await asyncio.wait_for(scenario(Tasks(), notes), 10)

    asyncio.run(work())
    return notes


async def stay(notes: list[str], name: str) -> None:
    """Until it is cancelled; ending takes a while."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        notes.append(name)


async def fail(after: asyncio.Event | None = None) -> None:
    if after is not None:
        await after.wait()
    raise EOFError("mine")


def test_the_first_error_itself_is_raised_when_all_others_have_ended() -> None:
    async def scenario(tasks: Tasks, notes: list[str]) -> None:
        tasks.start(stay(notes, "one"))
        tasks.start(stay(notes, "two"))
        tasks.start(fail())
        with pytest.raises(EOFError, match="mine"):
            await tasks.wait()
        assert sorted(notes) == ["one", "two"]

    run(scenario)


def test_one_that_is_cancelled_stops_nobody_and_can_be_replaced() -> None:
    async def scenario(tasks: Tasks, notes: list[str]) -> None:
        go_on = asyncio.Event()
        first = tasks.start(stay(notes, "first"))
        tasks.start(stay(notes, "other"))

        async def replace() -> None:
            first.cancel()
            await asyncio.wait({first})
            assert notes == ["first"], "the other one goes on"
            tasks.start(fail(go_on))
            go_on.set()

        tasks.start(replace())
        with pytest.raises(EOFError):
            await tasks.wait()
        assert notes == ["first", "other"]

    run(scenario)


def test_all_may_come_to_their_end() -> None:
    async def scenario(tasks: Tasks, notes: list[str]) -> None:
        async def note() -> None:
            await asyncio.sleep(0)
            notes.append("done")

        tasks.start(note())
        tasks.start(note())
        await tasks.wait()

    assert run(scenario) == ["done", "done"]


def test_cancelling_who_waits_cancels_all() -> None:
    async def scenario(tasks: Tasks, notes: list[str]) -> None:
        tasks.start(stay(notes, "one"))
        waiting = asyncio.create_task(tasks.wait())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert notes == ["one"]

    run(scenario)
