"""The port of Wyoming as the command line asks for it.

In: options. Out: a socket that listens, or none, and what is said of it. The package `wyoming` is
not needed by who does not ask.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from commands.errors import UserError
from runtime.serving.server import open_socket, url_of
from runtime.serving.settings import ServerSettings
from runtime.serving.speaking import Speaking


@dataclass(frozen=True)
class WyomingPort:
    """listening: None if nobody asked for it."""

    listening: socket.socket | None
    host: str
    is_announced: bool

    def announced(self, speaking: Speaking) -> AbstractContextManager[None]:
        """Tell the network, if that was asked for.

        Raises:
            UserError: nobody has said which language the voices speak; Home Assistant offers no
                voice without one.
        """
        if self.listening is None:
            return nullcontext()
        if not speaking.language:
            message = "the bundle does not say which language its voices speak"
            raise UserError(f"--wyoming-port: {message}; give --language CODE")
        if not self.is_announced:
            return nullcontext()
        from runtime.serving.wyoming.announcing import announced

        return announced(speaking.model, self.host, self.listening.getsockname()[1])

    def describe(self, settings: ServerSettings) -> list[str]:
        """For people."""
        if self.listening is None:
            return []
        url = url_of(self.listening).replace("http", "tcp")
        lines = [f"Wyoming on {url}{', announced' if self.is_announced else ''}"]
        if settings.keys:
            lines.append(f"warning: Wyoming knows no keys, so whoever reaches {url} may speak")
        return lines


@contextmanager
def open_wyoming(arguments: argparse.Namespace) -> Iterator[WyomingPort]:
    """Raises `UserError` for an address that is taken, or that is announced and cannot be reached,
    or options without a port."""
    host, port = arguments.host, arguments.wyoming_port
    if port is None:
        if arguments.announce:
            raise UserError("--announce needs --wyoming-port")
        yield WyomingPort(None, host, is_announced=False)
        return
    if arguments.announce:
        from runtime.serving.wyoming.announcing import addresses_of

        addresses_of(host)  # before the bundle is loaded and measured
    with open_socket(host, port, "--wyoming-port") as listening:
        yield WyomingPort(listening, host, is_announced=arguments.announce)
