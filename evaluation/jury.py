"""The judges of an evaluation, asked about one spoken sentence after the other.

In: `SpokenSentence`s. Out: `Verdict`s: what the recognisers heard, DNSMOS, and how similar the
voice is to known speakers. This module decides which judges there are; each has its own module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.judge_cache import JudgeCache
from evaluation.recognisers import RECOGNISERS, SAMPLE_RATE_HZ, Mistakes, count_mistakes
from evaluation.speaker_similarity import SpeakerEncoder, read_references
from evaluation.systems import SpokenSentence
from train.data.quality import dnsmos_version, score_dnsmos

LEAST_SAMPLES = SAMPLE_RATE_HZ // 4  # the judges' minimum; shorter audio is padded with silence

Judge = Callable[[NDArray[np.float32]], Any]


@dataclass(frozen=True)
class Verdict:
    """What the judges said about one spoken sentence."""

    text: str
    seconds: float
    stopped: bool
    heard: dict[str, str]  # recogniser -> text
    mistakes: dict[str, Mistakes]  # recogniser -> edits
    dnsmos: dict[str, float]
    similarity: dict[str, float] = field(default_factory=dict)  # known speaker -> cosine


class Jury:
    """All judges, loaded once; `cache` is a file that keeps their answers."""

    def __init__(
        self,
        recognisers: Sequence[str],
        references: Path | None = None,
        cache: Path | None = None,
        threads: int | None = None,
    ) -> None:
        """`references` holds a folder of recordings for each known speaker; without it the voice is
        not compared. `threads` is for each recogniser (default 2)."""
        self._cache = JudgeCache(cache)
        self._recognisers = [RECOGNISERS[name](threads or 2) for name in recognisers]
        self.versions = {judge.name: judge.version for judge in self._recognisers}
        self.versions["dnsmos"] = dnsmos_version()
        self._references = None
        if references is not None:
            self._encoder = SpeakerEncoder()
            self.versions[self._encoder.name] = self._encoder.version
            self._references = read_references(references, self._embed)

    @property
    def speakers(self) -> list[str]:
        """The known speakers, sorted."""
        return sorted(self._references.embeddings) if self._references else []

    def judge(self, spoken: SpokenSentence) -> Verdict:
        """Ask every judge that has not heard exactly this audio before."""
        missing = max(0, LEAST_SAMPLES - len(spoken.audio))
        audio = np.pad(spoken.audio, (0, missing))
        heard = {
            judge.name: str(self._ask(judge.name, judge.transcribe, audio))
            for judge in self._recognisers
        }
        return Verdict(
            spoken.text,
            len(spoken.audio) / SAMPLE_RATE_HZ,
            spoken.stopped,
            heard,
            {name: count_mistakes(spoken.text, text) for name, text in heard.items()},
            self._ask("dnsmos", score_dnsmos, audio),
            self._similarity(audio),
        )

    def _ask(self, name: str, judge: Judge, audio: NDArray[np.float32]) -> Any:
        return self._cache.answer(f"{name} ({self.versions[name]})", audio, judge)

    def _embed(self, audio: NDArray[np.float32]) -> Any:
        encoder = self._encoder
        return self._ask(encoder.name, lambda sound: encoder.embed(sound).tolist(), audio)

    def _similarity(self, audio: NDArray[np.float32]) -> dict[str, float]:
        references = self._references
        return {} if references is None else references.similarities(self._embed(audio))
