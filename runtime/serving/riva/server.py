"""The port of gRPC, beside that of HTTP in the same process and the same event loop.

In: a socket that holds the port. Out: calls, with bounds on their number, sizes and times, and keys
checked before anything of a call is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from commands.errors import UserError
from runtime.serving.errors import RequestFailed
from runtime.serving.guards import Keys
from runtime.serving.metrics import Metrics
from runtime.serving.riva.calls import RivaCalls
from runtime.serving.riva.messages import SERVICE
from runtime.serving.settings import ServerSettings
from runtime.serving.speaking import Speaking

BESIDE_TEXT = 16 * 1024  # bytes of a request that are not its text
METADATA_BYTES = 16 * 1024
HANDSHAKE_MS = 10_000
IDLE_MS = 300_000  # of a connection without a call
MARGIN = 2  # more calls than are answered are let in, so that they can be refused in words
KEY_SENT_AS = "the metadata authorization: Bearer KEY"  # gRPC takes no capital letter in its name
Handler = Callable[[Any, Any], Awaitable[None]]


class RivaServer:
    """Start it within an event loop; it ends with `close`."""

    def __init__(self, holding: socket.socket, speaking: Speaking, metrics: Metrics) -> None:
        self._holding, self._speaking, self._metrics = holding, speaking, metrics
        self._stopping: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """gRPC opens sockets by itself, so the one that holds the port makes room for it.

        Raises:
            UserError: somebody else took the port at that moment.
        """
        settings = self._speaking.settings
        self._calls = RivaCalls(self._speaking, self._metrics)
        self._server = grpc.aio.server(
            interceptors=(Gate(settings, self._calls),),
            options=_options(settings),
            maximum_concurrent_rpcs=MARGIN * settings.max_sessions,
        )
        self._server.add_generic_rpc_handlers((_handlers(self._calls),))
        host, port = self._holding.getsockname()[:2]
        self._holding.close()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._server.add_insecure_port(address)
        except RuntimeError:
            message = f"cannot listen on {address}: it was taken just now; give another --grpc-port"
            raise UserError(message) from None
        await self._server.start()

    def begin_ending(self) -> None:
        """Take no more calls; those who are spoken to hear the rest."""
        if self._stopping is None:
            self._calls.ending.set()
            stopping = self._server.stop(self._speaking.settings.drain_seconds)
            self._stopping = asyncio.ensure_future(stopping)

    async def close(self) -> None:
        """End, at the latest when the time for that is over."""
        self.begin_ending()
        assert self._stopping is not None
        await self._stopping


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[misc, unused-ignore]
    """Before every call: whoever has no key is refused."""

    def __init__(self, settings: ServerSettings, calls: RivaCalls) -> None:
        self._keys, self._calls = Keys(settings.keys), calls

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """A handler for the call."""
        told = dict(details.invocation_metadata or ())
        try:
            self._keys.check(str(told.get("authorization", "")), KEY_SENT_AS)
        except RequestFailed as error:
            return self._refusing(error)
        return await continuation(details)

    def _refusing(self, error: RequestFailed) -> Any:
        async def refuse(_: Any, context: Any) -> None:
            await self._calls.refuse(error, context)

        return grpc.stream_stream_rpc_method_handler(refuse)


def _handlers(calls: RivaCalls) -> Any:
    methods: dict[str, Handler] = {
        "Synthesize": calls.synthesize,
        "SynthesizeOnline": calls.synthesize_online,
        "GetRivaSynthesisConfig": calls.config,
    }
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: grpc.stream_stream_rpc_method_handler(
                handler, response_serializer=lambda answer: answer.SerializeToString()
            )
            for name, handler in methods.items()
        },
    )


def most_connections(settings: ServerSettings) -> int:
    """That may be open at a time; those beyond are closed at once."""
    return MARGIN * settings.max_sessions


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # or a second server could take half of the calls
        ("grpc.max_receive_message_length", settings.max_text_bytes + BESIDE_TEXT),
        ("grpc.max_send_message_length", settings.max_whole_bytes + BESIDE_TEXT),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        ("grpc.max_concurrent_streams", MARGIN * settings.max_sessions),
        ("grpc.max_allowed_incoming_connections", most_connections(settings)),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ]
