"""The body of `/v1/audio/speech/batch`: fields for all texts, and texts with fields of their own.

In: JSON as vLLM-Omni has it, `{"items": [{"input": …}, …], "voice": …}`. Out: for each text the
body that `/v1/audio/speech` would take for it. What is wrong with one of them is found later, so
that the others are spoken.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.serving.errors import RequestFailed
from runtime.serving.requests import not_json

MAX_ITEMS = 32
DEFAULT_FORMAT = "wav"
OF_ALL = ("items", "stream", "stream_format")  # an item has none of them


def read_batch(body: bytes, max_text_bytes: int) -> list[bytes]:
    """The bodies. max_text_bytes: of all texts together.

    Raises:
        RequestFailed: it is no batch, or too large a one.
    """
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_json(error) from None
    items = asked.get("items") if isinstance(asked, dict) else None
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise _wrong(f"items must be a list of 1 to {MAX_ITEMS} texts")
    if not all(isinstance(item, dict) for item in items):
        raise _wrong('items must be objects, as in {"input": "Hello."}')
    size = sum(_size_bytes(item.get("input")) for item in items)
    if size > max_text_bytes:
        raise _wrong(f"items have {size} bytes of text; at most {max_text_bytes} are taken")
    shared = {"response_format": DEFAULT_FORMAT} | _without_empty(asked)
    return [msgspec.json.encode(shared | _without_empty(item)) for item in items]


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """null stands for the value that holds for all."""
    return {name: each for name, each in fields.items() if each is not None and name not in OF_ALL}


def _size_bytes(text: Any) -> int:
    return len(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else 0


def _wrong(why: str) -> RequestFailed:
    return RequestFailed(400, why, param="items", code="invalid_value")
