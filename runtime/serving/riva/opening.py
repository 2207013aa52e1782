"""The port of gRPC as the command line asks for it.

In: options. Out: a socket that holds the port, or none, and what is said of it. The package grpcio
is not needed by who does not ask.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from runtime.serving.server import open_socket, url_of
from runtime.serving.settings import ServerSettings


@dataclass(frozen=True)
class RivaPort:
    """holding: None if nobody asked for it."""

    holding: socket.socket | None

    def connections(self, settings: ServerSettings) -> int:
        """That it may have at a time."""
        if self.holding is None:
            return 0
        from runtime.serving.riva.server import most_connections

        return most_connections(settings)

    def describe(self) -> list[str]:
        """For people."""
        if self.holding is None:
            return []
        return [f"gRPC as Riva's on {url_of(self.holding).removeprefix('http://')}"]


@contextmanager
def open_riva(arguments: argparse.Namespace) -> Iterator[RivaPort]:
    """Raises `UserError` for an address that is taken."""
    if arguments.grpc_port is None:
        yield RivaPort(None)
        return
    import google.protobuf.message  # noqa: F401 (what is missing is said before the bundle is loaded)
    import grpc  # noqa: F401

    with open_socket(arguments.host, arguments.grpc_port, "--grpc-port") as holding:
        yield RivaPort(holding)
