"""What a server counts and measures, for Prometheus.

In: what became of each speech. Out: the text of `/metrics`. Names are those that servers of speech
share, with this project's prefix. No text and no voice is a label.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Speech, SpeechFailed, State
from runtime.serving.errors import REFUSED

PREFIX = "slm_tts"
LATENCY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60)
FACTORS = (0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.25, 1.5, 2, 5, 10)
AUDIBLE_SECONDS = 0.1  # a shorter gap is not heard as one


@dataclass
class Playback:
    """A player that starts with the first audio: how far behind its listener's ear it ever is."""

    asked: float = field(default_factory=time.monotonic)
    first: float | None = None
    seconds: float = 0.0  # of audio that has come
    underrun_seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Audio has come."""
        if seconds <= 0:
            return
        now = time.monotonic()
        if self.first is None:
            self.first = now
        self.underrun_seconds = max(self.underrun_seconds, now - self.first - self.seconds)
        self.seconds += seconds


class Metrics:
    """One for a server, with a registry of its own."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answers by route and status", "route", "status")
        self._first = self._times("audio_ttfp_seconds", "From the request to the first audio")
        self._queued = self._times("request_queue_time_seconds", "From the order to its row")
        self._lengths = self._times("audio_duration_seconds", "Audio of a speech")
        self._underruns = self._times("audio_underrun_seconds", "Longest gap of a player")
        self._factors = self._times("audio_rtf", "Time of a speech by its audio", FACTORS)
        self._smooth = self._counter(
            "audio_continuity_ok", "Speeches without an audible gap", "threshold_ms"
        )
        self._aborted = self._counter("speech_stream_aborted", "Not said to the end", "reason")
        self._watch("num_requests_running", "Texts being spoken", scheduler, "speaking")
        self._watch("num_requests_waiting", "Texts that wait for a row", scheduler, "waiting")
        self._watch("rows", "Texts that can be spoken side by side", scheduler, "rows")

    def count_answer(self, route: str, status: int) -> None:
        self._requests.labels(route, str(status)).inc()

    def count_aborted(self, reason: str) -> None:
        self._aborted.labels(reason).inc()

    def count_failed(self, error: Exception) -> None:
        """A speech that ended for an error: of the listener's time, of the queue's, or another.
        What was refused never was a speech."""
        if isinstance(error, REFUSED):
            return
        if isinstance(error, SpeechFailed) and error.state is State.EXPIRED:
            self.count_aborted("expired")
        else:
            self.count_aborted("slow" if isinstance(error, TimeoutError) else "failed")

    def add_speech(self, speech: Speech, playback: Playback) -> None:
        """A speech was sent to its end."""
        now = time.monotonic()
        if speech.began is not None:
            self._queued.observe(speech.began - speech.submitted)
        if playback.first is None:
            return
        self._first.observe(playback.first - playback.asked)
        self._lengths.observe(playback.seconds)
        self._factors.observe((now - (speech.began or playback.asked)) / playback.seconds)
        self._underruns.observe(playback.underrun_seconds)
        if playback.underrun_seconds <= AUDIBLE_SECONDS:
            self._smooth.labels(f"{1000 * AUDIBLE_SECONDS:.0f}").inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", what, labels, registry=self.registry)

    def _times(
        self, name: str, what: str, buckets: tuple[float, ...] = LATENCY_SECONDS
    ) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", what, buckets=buckets, registry=self.registry)

    def _watch(self, name: str, what: str, scheduler: Scheduler, field_name: str) -> None:
        gauge = Gauge(f"{PREFIX}_{name}", what, registry=self.registry)
        gauge.set_function(lambda: float(getattr(scheduler.load(), field_name)))
