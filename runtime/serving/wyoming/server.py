"""The port of Wyoming, beside that of HTTP in the same process and the same event loop.

In: a socket that listens. Out: conversations, as many as there may be at a time.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

from anyio import fail_after

from runtime.serving.metrics import Metrics
from runtime.serving.speaking import Speaking
from runtime.serving.wyoming.conversation import Conversation
from runtime.serving.wyoming.events import MOST_LINE_BYTES


class WyomingServer:
    """Start it within an event loop; it ends with `close`."""

    def __init__(self, listening: socket.socket, speaking: Speaking, metrics: Metrics) -> None:
        self._socket, self._speaking, self._metrics = listening, speaking, metrics
        self._ending = asyncio.Event()
        self._ended_at = 0.0  # when it was told to end
        self._running: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._answer, sock=self._socket, limit=MOST_LINE_BYTES
        )

    def begin_ending(self) -> None:
        """Take no more callers; those who are spoken to hear the rest."""
        if self._server is not None:
            self._server.close()
        if not self._ending.is_set():
            self._ended_at = time.monotonic()
        self._ending.set()

    async def close(self, drain_seconds: float) -> None:
        """End, at the latest so long after it was told to: HTTP may have taken a part of it."""
        self.begin_ending()
        left = self._ended_at + drain_seconds - time.monotonic()
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, left))
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._running) >= self._speaking.settings.max_sessions:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        conversation = Conversation(reader, writer, self._speaking, self._metrics, self._ending)
        try:
            await conversation.run()
        except asyncio.CancelledError:  # it has had its time
            writer.transport.abort()
        finally:
            await self._flush(writer)

    async def _flush(self, writer: asyncio.StreamWriter) -> None:
        """Let the caller hear what was written; who plays while they read may be behind."""
        writer.close()
        with suppress(OSError, TimeoutError):
            with fail_after(self._speaking.settings.patience_seconds):
                await writer.wait_closed()
        writer.transport.abort()
