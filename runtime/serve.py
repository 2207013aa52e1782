"""`python -m runtime.serve`: speak for many listeners, over HTTP.

In: a bundle and an address. Out: a server that lasts until it is told to end, and then lets the
speeches that have begun be said. `runtime.serving` answers, `runtime.scheduling` shares the engine.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import ipaddress
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import SpeechWarning, UserError
from commands.options import Options, add_count, number_above
from commands.run import run_command
from runtime.speaking_options import add_engine_options, add_look_ahead

if TYPE_CHECKING:
    import socket

    from runtime.scheduling.limits import SchedulerLimits
    from runtime.scheduling.scheduler import Scheduler
    from runtime.serving.riva.opening import RivaPort
    from runtime.serving.settings import ServerSettings
    from runtime.serving.wyoming.opening import WyomingPort
    from runtime.speech.synthesis import TTS

KEY_VARIABLE = "SLM_TTS_API_KEY"
ESCAPED = 6  # bytes of JSON that one byte of text can become
LOCAL_NAMES = ("localhost",)
SWITCH_SECONDS = 0.0005  # Python's own 0.005 is as long as a step: so long the engine would wait


def make_parser() -> CommandParser:
    parser = command_parser("runtime.serve", "Speak for many listeners, over HTTP.")
    add_engine_options(parser)
    _add_address(parser.add_argument_group("address"))
    _add_wyoming(parser.add_argument_group("Wyoming"))
    _add_riva(parser.add_argument_group("gRPC"))
    _add_access(parser.add_argument_group("access"))
    _add_capacity(parser.add_argument_group("capacity"))
    return parser


def _add_address(group: Options) -> None:
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1, which only this machine reaches)",
    )
    add_count(group, "--port", "where to listen; 0 takes a free port", 8000, least=0)


def _add_wyoming(group: Options) -> None:
    purpose = (
        "speak Wyoming here as well, for Home Assistant (10200 by custom); 0 takes a free port"
    )
    add_count(group, "--wyoming-port", purpose, least=0)
    group.add_argument(
        "--language",
        metavar="CODE",
        help="that the voices speak, as in en-US (default: what the bundle says)",
    )
    group.add_argument(
        "--announce",
        action="store_true",
        help="tell the local network where Wyoming is spoken (zeroconf)",
    )


def _add_riva(group: Options) -> None:
    purpose = "speak Riva's protocol here as well (50051 by custom); 0 takes a free port"
    add_count(group, "--grpc-port", purpose, least=0)


def _add_access(group: Options) -> None:
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"keys, one a line, of which callers must send one; or a key in {KEY_VARIABLE}",
    )
    group.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="a web page's origin that may call, as in https://example.org; can be repeated",
    )
    group.add_argument(
        "--voices-dir",
        type=Path,
        metavar="DIR",
        help="keep uploaded voices here; without it, none can be uploaded",
    )


def _add_capacity(group: Options) -> None:
    purpose = "texts that are spoken side by side (default: as many as stay in real time, measured)"
    add_count(group, "--rows", purpose)
    purpose = "texts that wait for a row; more are refused (default: as many as rows, at least 4)"
    add_count(group, "--waiting", purpose, least=0)
    add_look_ahead(group)
    group.add_argument(
        "--deadline",
        type=number_above(0),
        default=30.0,
        metavar="SECONDS",
        help="a text that has waited for so long is refused (default: 30)",
    )
    add_count(group, "--max-text-bytes", "longer texts are refused", 100_000)
    add_count(group, "--drain", "seconds that speeches have left when the server ends", 60)
    group.add_argument(
        "--warm-up",
        default="Hello.",
        metavar="TEXT",
        help="what is spoken once before the server is ready (default: Hello.)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Serve until a signal comes."""
    from runtime.scheduling.scheduler import Scheduler
    from runtime.serving.riva.opening import open_riva
    from runtime.serving.server import open_socket
    from runtime.serving.wyoming.opening import open_wyoming
    from runtime.speech.synthesis import TTS

    settings = _settings(arguments)
    sys.setswitchinterval(SWITCH_SECONDS)  # for the engine's thread, after each call of the engine
    with (
        open_socket(arguments.host, arguments.port) as listening,
        open_wyoming(arguments) as wyoming,
        open_riva(arguments) as riva,
    ):
        warnings.simplefilter("ignore", SpeechWarning)  # they quote texts
        tts = TTS.load(arguments.engine, arguments.run_with, arguments.threads)
        _check_look_ahead(tts, arguments.look_ahead)
        _tell(tts.describe())
        limits = _limits(tts, arguments.rows, arguments.waiting)
        with Scheduler(tts, limits) as scheduler:
            _serve(scheduler, settings, listening, wyoming, riva)


def _serve(
    scheduler: Scheduler,
    settings: ServerSettings,
    listening: socket.socket,
    wyoming: WyomingPort,
    riva: RivaPort,
) -> None:
    from runtime.serving.app import make_app
    from runtime.serving.server import (
        ConnectionLimits,
        SpeechServer,
        fitting_connections,
        url_of,
    )

    app = make_app(scheduler, settings, wyoming.listening, riva.holding)
    limits = scheduler.limits
    connections = fitting_connections(ConnectionLimits.connections, riva.connections(settings))
    bounds = ConnectionLimits(connections, drain_seconds=settings.drain_seconds)
    server = SpeechServer(app, bounds)
    _tell(f"voices: {', '.join(server.voices) or 'none'}")
    texts = f"{limits.rows} text{'s' * (limits.rows > 1)}"
    _tell(f"{texts} side by side, {limits.waiting} more may wait")
    _warn_if_open(listening.getsockname()[0], settings)
    with wyoming.announced(app.state.speaking):
        for line in (*wyoming.describe(settings), *riva.describe()):
            _tell(line)
        _tell(f"listening on {url_of(listening)}")
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again when all is said
            server.run(sockets=[listening])
    _tell("ended")


def _settings(arguments: argparse.Namespace) -> ServerSettings:
    from runtime.serving.guards import check_origins, read_keys
    from runtime.serving.settings import MEGABYTE, ServerSettings

    check_origins(arguments.allow_origin)
    return ServerSettings(
        keys=read_keys(arguments.api_key_file, os.environ.get(KEY_VARIABLE)),
        voices_folder=arguments.voices_dir,
        origins=tuple(arguments.allow_origin),
        look_ahead=arguments.look_ahead,
        language=arguments.language,
        drain_seconds=arguments.drain,
        warm_up_text=arguments.warm_up,
        deadline_seconds=arguments.deadline,
        max_text_bytes=arguments.max_text_bytes,
        max_body_bytes=max(MEGABYTE, ESCAPED * arguments.max_text_bytes),
    )


def _limits(tts: TTS, rows: int | None, waiting: int | None) -> SchedulerLimits:
    """As many rows as were asked for, or as this machine can do; measured in both cases, because
    the scheduler has to know when it falls behind."""
    from runtime.scheduling.capacity import measure_capacity

    most = tts.decoder.rows
    if rows is not None and rows > most:
        raise UserError(
            f"--rows {rows}: this bundle takes at most {most}; export it again with --rows {rows}"
        )
    capacity = measure_capacity(tts)
    _tell(capacity.describe())
    if rows is not None and rows > capacity.streams:
        _tell(
            f"warning: --rows {rows} is more than stay in real time; a text begins when the others "
            "have audio to spare"
        )
    return capacity.limits(rows, waiting)


def _check_look_ahead(tts: TTS, look_ahead: int | None) -> None:
    from runtime.speech.schedule import soon_heard

    tts.codec.check_schedule(soon_heard(tts.bundle.manifest.codec, look_ahead))


def _warn_if_open(host: str, settings: ServerSettings) -> None:
    """Everyone who reaches the address may use it: say so."""
    if settings.keys or host in LOCAL_NAMES or _is_loopback(host):
        return
    _tell("warning: no key is asked for, and other machines can reach this address")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
