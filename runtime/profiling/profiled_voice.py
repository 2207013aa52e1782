"""A voice that speaks for somebody and is profiled at the same time: `runtime.tts --profile`.

In: a bundle and what it is about to say. Out: the speech, as `TTS.stream` gives it; afterwards a
report of that one utterance. Nothing is said twice, and nothing is measured before the speech.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.profiling.machine.noise import NoiseMonitor
from runtime.profiling.measuring import report_utterance
from runtime.profiling.report import Report
from runtime.profiling.runs import Recording, Spoken
from runtime.profiling.subjects import Loaded
from runtime.speech.spoken import Chunk
from runtime.speech.synthesis import TTS


class ProfiledVoice:
    """For one utterance."""

    def __init__(
        self,
        engine: str | Path,
        run_with: str = "auto",
        threads: int | None = None,
        *,
        text: str,
        voice: str | None = None,
        max_steps: int | None = None,
    ) -> None:
        """Raises `UserError` as `TTS.load` and `TTS.stream` do."""
        spoken = Spoken(text, voice, max_steps)
        self._loaded = Loaded.open(Path(engine).name, engine, run_with, threads, spoken)
        self._recording = Recording(self.tts, self._loaded.recorder)
        self._noise = NoiseMonitor()

    @property
    def tts(self) -> TTS:
        return self._loaded.tts

    def stream(self, text: str, **options: Any) -> Iterator[Chunk]:
        """As `TTS.stream`."""
        return self._recording.stream(text, **options)

    def report(self) -> Report:
        """Of what was said. The machine's limits are measured now."""
        return report_utterance(self._loaded, self._recording.finish(), self._noise.finish())

    def write_page(self, path: str | Path) -> None:
        """The report as a page; the file appears whole or not at all."""
        from runtime.profiling.page import write_page

        write_page(path, self.report())
