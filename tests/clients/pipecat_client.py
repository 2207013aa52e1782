"""Pipecat's `OpenAITTSService` in a pipeline, as an agent uses it, in an environment of its own.

In: JSON on standard input, `{"base_url", "api_key", "folder", "orders": [...]}`; an order has
`text`, the service's settings (`model`, `voice`, `speed`), and perhaps `leave_after`, seconds of
audio after which the listener talks over it, `admit`, a voice that the service shall let pass, or
`pipeline_rate_hz`. Out: samples of 16 bits in files of `folder`, and a line of JSON for each order.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

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
from pipecat.services.openai.tts import VALID_VOICES, OpenAITTSService
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


async def hear(order: dict[str, Any], base_url: str, api_key: str, path: Path) -> dict[str, Any]:
    """Speak one text in a pipeline of its own."""
    text, enough = order.pop("text"), order.pop("leave_after", None)
    if admitted := order.pop("admit", None):
        VALID_VOICES[admitted] = admitted
    pipeline_rate_hz = order.pop("pipeline_rate_hz", RATE_HZ)
    settings = OpenAITTSService.Settings(**order)
    service = OpenAITTSService(
        base_url=base_url, api_key=api_key, sample_rate=RATE_HZ, settings=settings
    )
    mouth, ear = Mouth(), Ear(float("inf") if enough is None else enough)
    parameters = PipelineParams(audio_out_sample_rate=pipeline_rate_hz)
    pipeline = Pipeline([mouth, service, ear])
    worker = PipelineWorker(pipeline, params=parameters, cancel_on_idle_timeout=False)

    async def speak() -> None:
        await worker.queue_frame(TTSSpeakFrame(text))
        ends = [asyncio.create_task(each.wait()) for each in (ear.over, ear.enough, mouth.failed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        for end in ends:
            end.cancel()
        if enough is not None:
            await worker.queue_frame(InterruptionFrame())
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), speak())
    path.write_bytes(ear.heard)
    return {"file": str(path), "rates": [*ear.rates], "errors": mouth.errors}


async def main() -> None:
    """Speak all orders in turn."""
    asked = json.load(sys.stdin)
    logger.remove()
    for number, order in enumerate(asked["orders"]):
        path = Path(asked["folder"]) / f"pipecat-{number}.pcm"
        heard = await hear(order, asked["base_url"], asked["api_key"], path)
        print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
