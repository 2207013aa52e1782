"""Uvicorn as this server needs it: bounded connections, and an end that lets speeches be said.

In: an application, an address. Out: a server to run, in the main thread or in another.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from commands.errors import UserError
from runtime.serving.connections import bounded_protocol
from runtime.serving.speaking import Phase
from runtime.serving.websocket.connections import BoundedWebSocket

BACKLOG = 512
FILES_BESIDE = 64 + BACKLOG  # that are open beside connections, with those that are just accepted
REPEAT_SECONDS = 10.0  # before the same is said again
LOOK_SECONDS = 0.1  # between looks for a second Ctrl-C
LEAST_CONNECTIONS = 8
MOST_PORT = 65_535
log = logging.getLogger("slm.serve")


@dataclass(frozen=True)
class ConnectionLimits:
    """idle_seconds: between requests. drain_seconds: for what is being said at the end."""

    connections: int = 1024
    header_bytes: int = 32 * 1024
    header_seconds: float = 10.0
    idle_seconds: int = 30
    drain_seconds: int = 60


class SpeechServer(uvicorn.Server):
    """Takes no more texts as soon as it is told to end."""

    def __init__(self, app: Starlette, limits: ConnectionLimits) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded_protocol(limits.connections, limits.header_seconds),
                ws=BoundedWebSocket,
                ws_max_size=app.state.speaking.settings.max_message_bytes,
                ws_per_message_deflate=False,  # samples do not become smaller
                ws_ping_timeout=None,  # who plays while they read finds a ping behind much audio
                lifespan="on",
                backlog=BACKLOG,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=limits.idle_seconds,
                timeout_graceful_shutdown=limits.drain_seconds,
                h11_max_incomplete_event_size=limits.header_bytes,
            )
        )
        self._speaking = app.state.speaking
        self._wyoming, self._riva = app.state.wyoming, app.state.riva

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen.

        Raises:
            UserError: somebody else took the port of gRPC.
        """
        asyncio.get_running_loop().set_exception_handler(AcceptTrouble())
        if self._riva is not None:
            await self._riva.start()
        await super().startup(sockets)

    @property
    def voices(self) -> tuple[str, ...]:
        """Names of all voices that it speaks with."""
        names: tuple[str, ...] = self._speaking.voices.names
        return names

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal."""
        self._speaking.phase = Phase.ENDING
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Every protocol lets its speeches be said at the same time. A second Ctrl-C ends that."""
        self._speaking.phase = Phase.ENDING
        if self._wyoming is not None:
            self._wyoming.begin_ending()
        if self._riva is not None:
            self._riva.begin_ending()
        ending = asyncio.create_task(super().shutdown(sockets))
        while not ending.done() and not self.force_exit:
            await asyncio.wait((ending,), timeout=LOOK_SECONDS)
        if not ending.done():  # uvicorn itself would wait for the other protocols
            ending.cancel()
            return
        await ending


class AcceptTrouble:
    """Says in one line that connections have to wait. Asyncio would log a traceback for each."""

    def __init__(self) -> None:
        self._said = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not str(context.get("message")).startswith("socket.accept() out of system resource"):
            loop.default_exception_handler(context)
            return
        if loop.time() - self._said > REPEAT_SECONDS:
            self._said = loop.time()
            log.warning("connections wait: %s", context.get("exception"))


def fitting_connections(wanted: int, beside: int = 0) -> int:
    """As many as the process may have open files for. Its own limit is raised if that helps.

    beside: connections of other protocols.
    """
    if sys.platform == "win32":
        return wanted
    import resource

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    beside += FILES_BESIDE
    needed = wanted + beside
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        allowed = needed if most == resource.RLIM_INFINITY else min(needed, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    if allowed == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(LEAST_CONNECTIONS, allowed - beside))


def open_socket(host: str, port: int, option: str = "--port") -> socket.socket:
    """Listens already, so that its port can be told. port: 0 takes a free one. option: that gives
    another.

    Raises:
        UserError: no such address, or one that is taken.
    """
    if port > MOST_PORT:  # the system would take another one, modulo 65536
        raise UserError(f"{option} {port}: ports end at {MOST_PORT}; give a smaller one")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        is_of_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        mend = f"give another {option}" if is_of_port else "give an address of this machine, --host"
        reason = (error.strerror or str(error)).partition(" (while")[0]  # the address is said here
        raise UserError(f"cannot listen on {host} port {port}: {reason}; {mend}") from None


def url_of(listening: socket.socket) -> str:
    """Where it is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
