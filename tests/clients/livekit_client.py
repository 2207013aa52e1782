"""LiveKit's plugin for OpenAI's speech, as an agent uses it. It runs in an environment of its own.

In: JSON on standard input, `{"base_url", "api_key", "folder", "orders": [...]}`; an order has
`text`, the plugin's options, and perhaps `retries`, and `leave_after`, seconds of audio after which
the listener leaves. Out: samples of 16 bits in files of `folder`, and a line of JSON for each
order.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from livekit.agents import APIConnectOptions, APIError
from livekit.plugins import openai

BYTES_A_SECOND = 2 * 24_000


async def hear(order: dict[str, Any], base_url: str, api_key: str, path: Path) -> dict[str, Any]:
    """Speak one text, frame by frame."""
    text, leave_after = order.pop("text"), order.pop("leave_after", None)
    trying = APIConnectOptions(max_retry=order.pop("retries", 0), retry_interval=0.5)
    tts = openai.TTS(base_url=base_url, api_key=api_key, **order)
    heard, rates, errors = bytearray(), set(), []
    try:
        async with tts.synthesize(text, conn_options=trying) as stream:
            async for event in stream:
                heard += bytes(event.frame.data)
                rates.add(event.frame.sample_rate)
                if leave_after is not None and len(heard) >= leave_after * BYTES_A_SECOND:
                    break
    except APIError as error:
        errors.append(f"{type(error).__name__}: {error}")
    await tts.aclose()
    path.write_bytes(heard)
    return {"file": str(path), "rates": [*rates], "errors": errors}


async def main() -> None:
    """Speak all orders in turn."""
    asked = json.load(sys.stdin)
    for number, order in enumerate(asked["orders"]):
        path = Path(asked["folder"]) / f"livekit-{number}.pcm"
        heard = await hear(order, asked["base_url"], asked["api_key"], path)
        print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
