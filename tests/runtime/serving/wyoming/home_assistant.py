"""What Home Assistant does as a caller, step by step, with the package that it uses.

Its integration for Wyoming asks for the `info` within a second, sends a text as one request or in
pieces while it reads, and takes a speech for ended by exactly these events.
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncGenerator, AsyncIterator

from anyio import fail_after
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

INFO_SECONDS = 1


async def load_info(port: int) -> Info:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        with fail_after(INFO_SECONDS):
            await client.write_event(Describe().event())
            while True:
                event = await client.read_event()
                assert event is not None, "the connection was closed"
                if Info.is_type(event.type):
                    return Info.from_event(event)


async def speak_at_once(port: int, message: str, voice: str | None) -> bytes | None:
    """A WAV; None if the connection was lost."""
    async with AsyncTcpClient("127.0.0.1", port) as client:
        chosen = None if voice is None else SynthesizeVoice(name=voice)
        await client.write_event(Synthesize(text=message, voice=chosen).event())
        with io.BytesIO() as file:
            writer: wave.Wave_write | None = None
            while True:
                event = await client.read_event()
                if event is None:
                    return None
                if AudioStop.is_type(event.type):
                    break
                if AudioChunk.is_type(event.type):
                    chunk = AudioChunk.from_event(event)
                    if writer is None:
                        writer = wave.open(file, "wb")  # noqa: SIM115
                        writer.setframerate(chunk.rate)
                        writer.setsampwidth(chunk.width)
                        writer.setnchannels(chunk.channels)
                    writer.writeframes(chunk.audio)
            if writer is not None:
                writer.close()
            return file.getvalue()


async def speak_stream(
    port: int, message: AsyncIterator[str], voice: str | None
) -> AsyncGenerator[bytes, None]:
    """The header of a WAV, and samples."""
    client = AsyncTcpClient("127.0.0.1", port)
    await client.connect()
    chosen = None if voice is None else SynthesizeVoice(name=voice)
    writing = asyncio.create_task(_write_message(client, message, chosen))
    try:
        has_header = False
        while event := await client.read_event():
            if has_header and AudioChunk.is_type(event.type):
                yield AudioChunk.from_event(event).audio
            elif not has_header and AudioStart.is_type(event.type):
                yield _header(AudioStart.from_event(event))
                has_header = True
            elif SynthesizeStopped.is_type(event.type):
                break
    finally:
        writing.cancel()
        await client.disconnect()


async def _write_message(
    client: AsyncTcpClient, message: AsyncIterator[str], voice: SynthesizeVoice | None
) -> None:
    await client.write_event(SynthesizeStart(voice=voice).event())
    whole = ""
    async for chunk in message:
        whole += chunk
        await client.write_event(SynthesizeChunk(text=chunk).event())
    await client.write_event(Synthesize(text=whole, voice=voice).event())
    await client.write_event(SynthesizeStop().event())


def _header(start: AudioStart) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setframerate(start.rate)
            writer.setsampwidth(start.width)
            writer.setnchannels(start.channels)
        return file.getvalue()
