"""A request becomes an order, and its chunks reach the event loop.

In: a text and settings. Out: a `Speech` of the scheduler, and its chunks as an asynchronous
iterator. Reading a text takes time, so threads do it. Nobody waits here for a row: a full queue
refuses at once. When the listener leaves, the order is cancelled, wherever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import ParamSpec, TypeVar

from runtime.scheduling.capacity import fixed_speaker
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Order, Speech
from runtime.serving.errors import RequestFailed
from runtime.serving.settings import ServerSettings
from runtime.serving.voices.registry import VoiceRegistry
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import least_work, soon_heard
from runtime.speech.spoken import Chunk
from runtime.text.frontends import language_of

LONG_CHARACTERS = 2_000  # of a text that is read apart, so that sentences need not wait for it
P = ParamSpec("P")
T = TypeVar("T")


class Phase(Enum):
    """Where a server is between its start and its end."""

    WARMING_UP = "warming up"
    READY = "ready"
    BROKEN = "broken"
    ENDING = "ending"


class Speaking:
    """What every protocol needs in order to speak: made once for a server.

    trouble: why it is broken.
    """

    def __init__(
        self, scheduler: Scheduler, voices: VoiceRegistry, settings: ServerSettings
    ) -> None:
        self.scheduler = scheduler
        self.voices = voices
        self.settings = settings
        self._phase = Phase.WARMING_UP
        self.trouble = ""
        self.encoders = ThreadPoolExecutor(2, "encoder")
        self._readers = ThreadPoolExecutor(2, "reader")
        self._slow_readers = ThreadPoolExecutor(2, "slow-reader")

    @property
    def phase(self) -> Phase:
        """Orders are taken when it is ready. Without the engine's thread it never is again."""
        if self._phase is Phase.READY and not self.scheduler.is_alive:
            self._phase, self.trouble = Phase.BROKEN, "the engine's thread has ended; start again"
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase

    @property
    def model(self) -> str:
        """The name of the model: that of its bundle's folder."""
        return self.scheduler.tts.bundle.folder.resolve().name

    @property
    def language(self) -> str | None:
        """That the voices speak, as in "en-US"; None if nobody has said."""
        spec = self.scheduler.tts.bundle.manifest.prompt.text_frontend
        return self.settings.language or language_of(spec)

    async def begin(
        self,
        text: str,
        voice: str | None,
        seed: int | None = None,
        *,
        is_whole: bool = False,
        follows: bool = False,
        first: int = 0,
    ) -> Speech:
        """Order a speech. Whoever gets it must take its chunks or cancel it.

        is_whole: nobody listens before the end. follows: it goes on what this listener hears, also
        while the server ends. first: how many sentences of the same text were spoken before.

        Raises:
            RequestFailed, UserError, Overloaded, ShuttingDown: why there will be none.
        """
        if not follows or self.phase is Phase.BROKEN:
            self.require_ready()
            self.scheduler.check_room()
        readers = self._slow_readers if len(text) > LONG_CHARACTERS else self._readers
        loop = asyncio.get_running_loop()
        order = await loop.run_in_executor(readers, self._order, text, voice, seed, is_whole)
        task = replace(order.task, first=first)
        return self.scheduler.submit(replace(order, task=task, follows=follows))

    async def read(self, work: Callable[P, T], *what: P.args, **more: P.kwargs) -> T:
        """Do something short with a text where it holds up nobody."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, partial(work, *what, **more))

    def require_ready(self) -> None:
        """Raise `RequestFailed` while no texts are taken."""
        if self.phase is not Phase.READY:
            message = f"this server is {self.phase.value}; try again, or another one"
            raise RequestFailed(503, message, code="not_ready", retry_after_seconds=1)

    async def warm_up(self) -> None:
        """Speak once, so that the first listener waits for nothing but their own speech."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._readers, self._speak_once)
        except Exception as error:  # the server goes on, to say that it cannot speak
            self.phase, self.trouble = Phase.BROKEN, " ".join(str(error).split())
        else:
            if self.phase is Phase.WARMING_UP:
                self.phase = Phase.READY

    def close(self) -> None:
        """End the threads."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._slow_readers.shutdown(wait=False, cancel_futures=True)
        self.encoders.shutdown(wait=False, cancel_futures=True)

    def _order(self, text: str, voice: str | None, seed: int | None, is_whole: bool) -> Order:
        tts, settings = self.scheduler.tts, self.settings
        task = tts.prepare(text, self.voices.speaker(voice), Sampling(seed=seed))
        codec = tts.bundle.manifest.codec
        schedule = least_work(codec) if is_whole else soon_heard(codec, settings.look_ahead)
        return Order(task, schedule, settings.deadline_seconds)

    def _speak_once(self) -> None:
        names = self.voices.names
        codec = self.scheduler.tts.bundle.manifest.codec
        speaker = self.voices.speaker(names[0]) if names else fixed_speaker(self.scheduler.tts)
        task = self.scheduler.tts.prepare(self.settings.warm_up_text, speaker)
        speech = self.scheduler.submit(Order(task, soon_heard(codec, self.settings.look_ahead)))
        for _ in speech:
            pass


async def chunks_of(speech: Speech) -> AsyncGenerator[Chunk, None]:
    """The chunks as they come. Closing it cancels what is left; close it (`aclosing`).

    Raises:
        SpeechFailed: it ended before its end.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def tell() -> None:
        loop.call_soon_threadsafe(changed.set)

    speech.on_change(tell)
    try:
        while True:
            changed.clear()
            while (chunk := speech.take()) is not None:
                yield chunk
            if speech.is_over:
                speech.take()  # raises if it failed since it was last asked
                return
            await changed.wait()
    finally:
        speech.cancel()  # it waits for nothing, so no cancellation can come between
