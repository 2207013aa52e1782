"""A speech that has begun: its sentences, one after another, as rows and as chunks.

In: steps of its row. Out: chunks, put into the speech. Used by the engine's thread alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runtime.engines.rows import Request, Row, Step
from runtime.scheduling.speech import Speech, State
from runtime.speech.codec import DecoderStream
from runtime.speech.spoken import Chunk
from runtime.speech.synthesis import TTS

# Of audio that the listener still has: then it is served before others, by a short chunk.
SCARCE_SECONDS = 0.15
NEWCOMER_SECONDS = 0.1  # that somebody counts as having before the first audio


class LiveSpeech:
    """row: of the sentence that is being decoded into frames; None between sentences, and while the
    last chunks of one are made."""

    def __init__(self, tts: TTS, speech: Speech) -> None:
        self.speech = speech
        self.row: Row | None = None
        self._tts = tts
        self._task = speech.order.task
        self._sentence = 0  # that is being spoken, from 1
        self._stream: DecoderStream | None = None
        self._rest: Iterator[Chunk] | None = None  # chunks behind the last step

    @property
    def needs_row(self) -> bool:
        """Whether its next sentence can begin."""
        return self._stream is None and self._sentence < self._count

    @property
    def is_done(self) -> bool:
        return self._stream is None and self._sentence == self._count

    def begin_sentence(self) -> Request:
        """The next sentence; its pause is handed out. The caller gives it a row."""
        self._sentence += 1
        schedule = self.speech.order.schedule
        if self._sentence > 1:
            self.speech.put(self._tts.pause(self._sentence, self._count))
            schedule = replace(schedule, look_ahead=None)  # nobody waits for their first audio
        request = self._tts.request(self._task, self._sentence - 1)
        self._stream = DecoderStream(
            self._tts.codec, self._task.speaker, schedule, self._sentence, self._count
        )
        return request

    def take(self, step: Step) -> None:
        """Frames of the row."""
        assert self._stream is not None
        self._stream.add(step.frames)
        if step.row.ended:
            self.row = None
            self._rest = self._stream.finish(stopped=step.stop)

    def seconds_left(self, now: float) -> float:
        """Of audio that the listener can still play, whether it was taken or not. One who has heard
        nothing yet comes behind those who are about to run dry."""
        if self.speech.first_audio is None:
            return NEWCOMER_SECONDS
        return max(self.speech.spare_seconds(now), self.speech.held_seconds)

    def hurry(self, now: float) -> None:
        """Make do with a shorter chunk if the listener has little left to play. Chunks that double
        in size come in time only while steps are twice as fast as speech."""
        speech = self.speech
        is_made = self._stream is None or self._rest is not None
        if is_made or speech.first_audio is None or self.seconds_left(now) >= SCARCE_SECONDS:
            return
        assert self._stream is not None
        self._stream.shorten(speech.order.schedule.first_frames)

    @property
    def has_work(self) -> bool:
        """Whether a chunk can be made now."""
        if self._stream is None:
            return False
        return self._rest is not None or self._stream.is_due() or self._stream.is_ready()

    def make_chunk(self) -> None:
        """Make and hand out what is due, one chunk if it is long."""
        assert self._stream is not None
        chunks = self._stream.ready() if self._rest is None else self._rest
        chunk = next(iter(chunks), None)
        if chunk is not None:
            self.speech.put(chunk)
        elif self._rest is not None:
            self._stream = self._rest = None

    def end(self, state: State, reason: str = "") -> None:
        """Give up what is under way."""
        self._stream = self._rest = None
        self._sentence = self._count
        self.speech.end(state, reason)

    @property
    def _count(self) -> int:
        return len(self._task.sentences)
