"""Tasks of one connection, which end together.

In: coroutines. Out: the error of the first that fails, itself and not in a group: a connection ends
for one reason. It does not know what the tasks do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Make it within an event loop."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """One more, also while others are waited for. To cancel it stops nobody else."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._note)
        return task

    async def wait(self) -> None:
        """Until all have ended. If one fails the others are cancelled; its error is raised when
        they have ended."""
        try:
            await self._end
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _note(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._end.done():
            return
        if error is not None:
            self._end.set_exception(error)
        elif not self._running:
            self._end.set_result(None)
