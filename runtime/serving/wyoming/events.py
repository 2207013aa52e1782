"""Events of Wyoming on a connection, with bounds.

In: a stream's bytes. Out: events, and back. The package `wyoming` knows the events; but its reader
takes what an event says of its length on trust, so that one line could fill the memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from wyoming.event import Event

from runtime.serving.errors import RequestFailed
from runtime.serving.requests import decode_fields

MOST_LINE_BYTES = 128 * 1024  # of an event whose data stands in its line
MOST_DATA_BYTES = 1024 * 1024
MOST_PAYLOAD_BYTES = 1024 * 1024  # of what is not read: callers have nothing to send in it


class _Header(msgspec.Struct):
    type: str
    data: dict[str, Any] | None = None
    data_length: int | None = None
    payload_length: int | None = None


async def read_event(reader: asyncio.StreamReader) -> Event:
    """The next event, without its payload.

    Raises:
        RequestFailed: what came is no event, or too large.
        EOFError: the stream has ended, perhaps within an event.
    """
    try:
        line = await reader.readline()
    except ValueError:
        raise _too_large("line", MOST_LINE_BYTES) from None
    if not line.endswith(b"\n"):
        raise EOFError
    header = decode_fields(line, _Header)
    data = header.data or {}
    length = _length(header.data_length, "data", MOST_DATA_BYTES)
    if length:
        more: dict[str, Any] = decode_fields(await reader.readexactly(length), dict)
        data |= more
    await reader.readexactly(_length(header.payload_length, "payload", MOST_PAYLOAD_BYTES))
    return Event(header.type, data)


def _length(told: int | None, what: str, most: int) -> int:
    length = told or 0
    if length < 0:
        raise RequestFailed(400, f"{what}_length is below 0", code="invalid_value")
    if length > most:
        raise _too_large(what, most)
    return length


def _too_large(what: str, most: int) -> RequestFailed:
    return RequestFailed(
        413, f"the {what} of an event has more than {most} bytes", code="too_large"
    )
