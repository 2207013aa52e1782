"""The scheduler of this process as a target: what serving costs without a network.

In: a loaded bundle and a scheduler. Out: float32 samples, as bytes.
"""

from __future__ import annotations

import time
from collections.abc import Generator

from benchmarks.serving.asking import Ask
from benchmarks.serving.targets import Broken, Refused, Rejected
from commands.errors import UserError
from runtime.scheduling.capacity import fixed_speaker
from runtime.scheduling.limits import Overloaded
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Order, SpeechFailed
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import soon_heard

UNSPEAKABLE = ("", " \n", "\U0001f600", "...", "\x00")


class InProcess:
    """See `Target`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._tts = scheduler, scheduler.tts
        self.name = f"scheduler, {scheduler.limits.rows} rows: {self._tts.describe()}"
        self.voices = self._tts.voices
        self.bytes_per_second = 4 * self._tts.sample_rate

    def speak(self, ask: Ask) -> Generator[bytes, None, None]:
        tts = self._tts
        voice = ask.voice or (None if self.voices else fixed_speaker(tts))
        try:
            task = tts.prepare(ask.text, voice, Sampling(seed=ask.seed))
            order = Order(task, soon_heard(tts.bundle.manifest.codec))
            speech = self._scheduler.submit(order)
        except UserError as error:
            raise Rejected(str(error)) from None
        except Overloaded as error:
            raise Refused(str(error)) from None
        try:
            for chunk in speech:
                yield chunk.audio.tobytes()
        except SpeechFailed as error:
            raise Broken(error.reason) from None
        finally:
            speech.cancel()

    def garbage(self, number: int) -> None:
        for _ in self.speak(Ask(UNSPEAKABLE[number % len(UNSPEAKABLE)], None)):
            pass

    def wait_until_idle(self, seconds: float) -> str:
        """What the scheduler still holds after at most so many seconds, in words; "": nothing."""
        end = time.monotonic() + seconds
        while True:
            load = self._scheduler.load()
            if not (load.speaking or load.waiting):
                return ""
            if time.monotonic() > end:
                return f"{load.speaking} are spoken and {load.waiting} wait"
            time.sleep(0.05)
