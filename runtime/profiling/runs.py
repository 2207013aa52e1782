"""One utterance, spoken and watched as a listener would hear it.

In: a loaded bundle whose engine reports to a recorder, and a text. Out: a `Run`: spans, chunks, and
the moments that count. Times are in seconds since the text was given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commands.errors import UserError
from runtime.engines import observing
from runtime.profiling.playback import Handed, play
from runtime.profiling.report import PlayedChunk, Span
from runtime.profiling.spans import TEXT, SpanRecorder

if TYPE_CHECKING:
    from runtime.speech.schedule import ChunkSchedule
    from runtime.speech.spoken import Chunk
    from runtime.speech.synthesis import TTS

STEP_STAGES = (observing.STEP, observing.HEAD, observing.WHOLE_STEP, observing.DEVICE_STEP)
_ONE_A_STEP = (observing.STEP, observing.WHOLE_STEP, observing.DEVICE_STEP)


@dataclass(frozen=True)
class Spoken:
    """What is spoken in a run. voice: as in `TTS.stream`."""

    text: str
    voice: str | None = None
    max_steps: int | None = None


@dataclass(frozen=True)
class Run:
    """seconds: until the last chunk was handed out."""

    seconds: float
    spans: tuple[Span, ...]
    chunks: tuple[PlayedChunk, ...]

    @property
    def first_audio(self) -> float:
        return next(chunk.ready for chunk in self.chunks if chunk.audio_seconds > 0)

    @property
    def audio_seconds(self) -> float:
        return sum(chunk.audio_seconds for chunk in self.chunks)

    @property
    def real_time_factor(self) -> float:
        return self.seconds / self.audio_seconds

    @property
    def step_seconds(self) -> float:
        """Of a mean step, with its head, whether the engine runs them in one call or in two."""
        steps = sum(span.name in _ONE_A_STEP for span in self.spans)
        return self.seconds_of(*STEP_STAGES) / max(1, steps)

    def seconds_of(self, *stages: str) -> float:
        """Of all calls of these stages."""
        return sum(span.seconds for span in self.spans if span.name in stages)

    def calls_of(self, stage: str) -> int:
        return sum(span.name == stage for span in self.spans)


class Recording:
    """An utterance that is being spoken for somebody, and watched. Use it once."""

    def __init__(self, tts: TTS, recorder: SpanRecorder) -> None:
        self._tts, self._recorder = tts, recorder
        self._handed: list[Handed] = []
        self._seconds = 0.0

    def stream(self, text: str, **options: Any) -> Iterator[Chunk]:
        """As `TTS.stream`, with the same options."""
        self._recorder.begin()
        with self._recorder.during(TEXT):
            chunks = self._tts.stream(text, **options)
        return self._watch(chunks)

    def _watch(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            seconds = len(chunk.audio) / self._tts.sample_rate
            handed = Handed(self._recorder.now(), seconds, len(chunk.frames), chunk.sentence)
            self._handed.append(handed)
            yield chunk
        self._seconds = self._recorder.now()

    def finish(self) -> Run:
        """What was recorded. Raises `UserError` if there was no audio."""
        if not any(chunk.audio_seconds > 0 for chunk in self._handed):
            raise UserError("the model said nothing for this text; give another")
        return Run(self._seconds, self._recorder.spans, tuple(play(self._handed)))


def speak_once(
    tts: TTS, recorder: SpanRecorder, spoken: Spoken, schedule: ChunkSchedule, seed: int
) -> Run:
    """Stream the text once.

    Raises:
        UserError: a text that cannot be spoken, or of which the model says nothing.
    """
    from runtime.speech.sampling import seeded

    recording = Recording(tts, recorder)
    chunks = recording.stream(
        spoken.text,
        voice=spoken.voice,
        sampling=seeded(tts.bundle.manifest.sampling, seed),
        max_steps=spoken.max_steps,
        schedule=schedule,
    )
    deque(chunks, maxlen=0)
    return recording.finish()
