"""Pipecat's services for speech in a pipeline, as agents use them, in an environment of its own.

In: JSON on standard input, `{"base_url", "grpc", "api_key", "folder", "orders": [...]}`; an order
has `text`, the service's settings (`model`, `voice`, `speed`), and perhaps `service` (`openai`,
`piper` or `nvidia`), its `rate_hz` and that of the pipeline, `leave_after`, seconds of audio after
which the listener talks over it, or `admit`, a voice that the service shall let pass. Out: samples
of 16 bits in files of `folder`, and a line of JSON for each order.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.nvidia.tts import NvidiaTTSService
from pipecat.services.openai.tts import VALID_VOICES, OpenAITTSService
from pipecat.services.piper.tts import PiperHttpTTSService
from pipecat.services.tts_service import TTSService
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 24_000
BYTES_A_SECOND = 2 * RATE_HZ


class Ear(FrameProcessor):
    """The end of a pipeline: it hears audio, and says when the speech is over or enough."""

    def __init__(self, enough_seconds: float) -> None:
        super().__init__()
        self.heard, self.rates = bytearray(), set[int]()
        self.enough_seconds = enough_seconds
        self.over, self.enough = asyncio.Event(), asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.heard += frame.audio
            self.rates.add(frame.sample_rate)
            if len(self.heard) >= self.enough_seconds * BYTES_A_SECOND:
                self.enough.set()
        if isinstance(frame, TTSStoppedFrame):
            self.over.set()
        await self.push_frame(frame, direction)


class Mouth(FrameProcessor):
    """The beginning of a pipeline: errors of what stands behind it come up to here."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []
        self.failed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.errors.append(frame.error)
            self.failed.set()
        await self.push_frame(frame, direction)


def make_service(
    order: dict[str, Any], asked: dict[str, Any], session: aiohttp.ClientSession
) -> TTSService:
    """What an order names; what is left of the order are its settings."""
    rate_hz = order.pop("rate_hz", RATE_HZ)
    service, base_url = order.pop("service", "openai"), asked["base_url"]
    if service == "nvidia":
        return NvidiaTTSService(
            server=asked["grpc"],
            use_ssl=False,
            sample_rate=rate_hz,
            settings=NvidiaTTSService.Settings(**order),
        )
    if service == "piper":
        return PiperHttpTTSService(
            base_url=f"{base_url.removesuffix('/v1')}/synthesize",
            aiohttp_session=session,
            sample_rate=rate_hz,
            settings=PiperHttpTTSService.Settings(**order),
        )
    if admitted := order.pop("admit", None):
        VALID_VOICES[admitted] = admitted
    return OpenAITTSService(
        base_url=base_url,
        api_key=asked["api_key"],
        sample_rate=rate_hz,
        settings=OpenAITTSService.Settings(**order),
    )


async def hear(order: dict[str, Any], asked: dict[str, Any], path: Path) -> dict[str, Any]:
    """Speak one text in a pipeline of its own."""
    headers = {"Authorization": f"Bearer {asked['api_key']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        text, enough = order.pop("text"), order.pop("leave_after", None)
        pipeline_rate_hz = order.pop("pipeline_rate_hz", RATE_HZ)
        service = make_service(order, asked, session)
        mouth, ear = Mouth(), Ear(float("inf") if enough is None else enough)
        await speak(text, mouth, service, ear, pipeline_rate_hz)
    path.write_bytes(ear.heard)
    return {"file": str(path), "rates": [*ear.rates], "errors": mouth.errors}


async def speak(text: str, mouth: Mouth, service: TTSService, ear: Ear, rate_hz: int) -> None:
    """Run a pipeline of `rate_hz` until the text is spoken, or enough of it, or it fails."""
    parameters = PipelineParams(audio_out_sample_rate=rate_hz)
    pipeline = Pipeline([mouth, service, ear])
    worker = PipelineWorker(pipeline, params=parameters, cancel_on_idle_timeout=False)

    async def order() -> None:
        await worker.queue_frame(TTSSpeakFrame(text))
        ends = [asyncio.create_task(each.wait()) for each in (ear.over, ear.enough, mouth.failed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        for end in ends:
            end.cancel()
        if ear.enough.is_set():
            await worker.queue_frame(InterruptionFrame())
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), order())


async def main() -> None:
    """Speak all orders in turn."""
    asked = json.load(sys.stdin)
    logger.remove()
    for number, order in enumerate(asked["orders"]):
        path = Path(asked["folder"]) / f"pipecat-{number}.pcm"
        heard = await hear(order, asked, path)
        print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
