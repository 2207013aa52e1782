"""A worker's half: jobs become files' bytes, several side by side.

In: jobs, from any number of threads. Out: a result for each, whatever it is. It knows neither the
output's folder nor where it runs: in a process of this machine or in one far away.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commands.errors import TextWarning, UserError
from runtime.batching.choices import DEFAULT_ROWS
from runtime.batching.results import Job, Spoken
from runtime.batching.sound_formats import encode_sound
from runtime.bundle.manifest import Manifest
from runtime.bundle.names import NATIVE
from runtime.scheduling.limits import SchedulerLimits
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Order, SpeechFailed
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import least_work
from runtime.speech.spoken import join_chunks
from runtime.speech.synthesis import TTS, Task

JOBS_AHEAD = 4  # that wait for a row: one is free as soon as a text has ended


@dataclass(frozen=True)
class SpeakerSettings:
    """What every worker is told once.

    voice: of rows that name none, as `--voice` takes it. rows: how many are spoken side by side;
    None: up to `DEFAULT_ROWS`, as the engine can. shares_weights: other processes of the machine
    have the same bundle.
    """

    engine: Path
    run_with: str
    threads: int
    rows: int | None
    shares_weights: bool
    voice: str | None
    greedy: bool
    max_steps: int | None
    strict: bool
    ending: str

    @property
    def jobs(self) -> int:
        """How many a worker should have at a time."""
        rows = self.rows or DEFAULT_ROWS
        return rows + min(rows, JOBS_AHEAD)


class Speaker:
    """A loaded bundle that speaks jobs. Any number of threads may call it."""

    def __init__(self, settings: SpeakerSettings) -> None:
        """Raises `UserError` as `TTS.load` does, or for more rows than the bundle takes."""
        self._settings = settings
        self._tts = TTS.load(
            settings.engine,
            settings.run_with,
            settings.threads,
            map_weights=settings.shares_weights,
        )
        self._rows = settings.rows or min(DEFAULT_ROWS, self._tts.decoder.rows)
        self._tts.decoder.open_rows(self._rows).close()  # refused here, not in the thread
        self._schedule = least_work(self._tts.bundle.manifest.codec)
        self._speakers: dict[str | None, NDArray[np.float32]] = {}
        if settings.voice is not None:  # otherwise rows may name theirs, and need no default
            self._speakers[None] = self._tts.speaker(settings.voice)
        self._reading = threading.Lock()  # Python's warnings are everybody's
        limits = SchedulerLimits(
            self._rows, settings.jobs, held_seconds=np.inf, slow_seconds=np.inf
        )
        self._scheduler = Scheduler(self._tts, limits)

    def describe(self) -> str:
        """One line for people."""
        return f"{self._tts.describe()}, {self._rows} rows"

    def speak(self, job: Job) -> Spoken:
        """Waits for the result. A text that cannot be spoken is one."""
        try:
            task, warned = self._prepare(job)
            speech = self._scheduler.submit(Order(task, self._schedule))
            said = join_chunks([*speech])
        except (UserError, SpeechFailed) as error:
            return Spoken(job.id, error=" ".join(str(error).split()))
        content = encode_sound(said.audio, said.sample_rate, self._settings.ending)
        seconds = round(len(said.audio) / said.sample_rate, 6)
        return Spoken(job.id, content, seconds, said.finished, warnings=warned)

    def close(self) -> None:
        """Give up what is under way."""
        self._scheduler.close()

    def _prepare(self, job: Job) -> tuple[Task, tuple[str, ...]]:
        settings = self._settings
        sampling = Sampling(do_sample=False if settings.greedy else None, seed=job.seed)
        with self._reading, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TextWarning)
            speaker = self._speaker(job.voice)
            task = self._tts.prepare(
                job.text, speaker, sampling, settings.max_steps, settings.strict
            )
        said = [str(one.message) for one in caught if issubclass(one.category, TextWarning)]
        return task, tuple(said)

    def _speaker(self, voice: str | None) -> NDArray[np.float32]:
        """A row's voice is looked up, never opened as a file: tables come from others."""
        if voice not in self._speakers:
            if voice is not None and voice not in self._tts.voices:
                have = ", ".join(self._tts.voices) or "none"
                raise UserError(f"no voice {voice!r}; the bundle has: {have}")
            self._speakers[voice] = self._tts.speaker(voice)
        return self._speakers[voice]


def is_seeded(manifest: Manifest, *, greedy: bool) -> bool:
    """Whether speech is drawn: greedy decoding takes no seed."""
    return manifest.sampling.do_sample and not greedy


def can_share_weights(manifest: Manifest) -> bool:
    """Whether processes can map one copy of the weights."""
    return manifest.engine.kind == NATIVE
