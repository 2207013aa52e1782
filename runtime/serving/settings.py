"""What the server allows and where it keeps voices: one record, made by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class ServerSettings:
    """keys: one of them is asked for; empty: nobody is asked. voices_folder: of uploaded voices;
    None: none can be uploaded. origins: of web pages that may call, beside the server's own.
    deadline_seconds: a text may wait so long before it begins. drain_seconds: who is
    spoken to has so long to hear the rest when the server ends. patience_seconds: a listener may
    take nothing for so long. body_seconds: a request's body may take so long to arrive.
    language: of the voices, as in "en-US"; None: what the bundle says.
    session_idle_seconds: a WebSocket may have nothing to say or to hear for so long.
    """

    keys: tuple[bytes, ...] = field(default=(), repr=False)
    voices_folder: Path | None = None
    origins: tuple[str, ...] = ()
    look_ahead: int | None = None
    language: str | None = None
    warm_up_text: str = "Hello."
    deadline_seconds: float = 30.0
    drain_seconds: int = 60
    patience_seconds: float = 60.0
    body_seconds: float = 30.0
    session_idle_seconds: float = 30.0
    max_text_bytes: int = 100_000
    max_body_bytes: int = MEGABYTE
    max_upload_bytes: int = 10 * MEGABYTE
    max_whole_bytes: int = 64 * MEGABYTE  # of a file that is sent at once; longer ones are streamed
    max_requests: int = 256  # at a time
    max_sessions: int = 128  # of `max_requests`: WebSockets
    max_message_bytes: int = 128 * 1024  # of a WebSocket
    max_voices: int = 1000  # uploaded
