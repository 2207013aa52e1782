"""The judges of an evaluation, asked about one utterance after the other.

In: `Utterance`s. Out: `Verdict`s: what the recognisers heard, DNSMOS, and how near the voice is
to known speakers. Which judges there are is decided here; what each does is its own module's.
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
from evaluation.systems import Utterance
from train.data.quality import dnsmos_version, score_dnsmos

LEAST_SAMPLES = SAMPLE_RATE_HZ // 4  # judges cannot hear less; what is shorter gets silence

Judge = Callable[[NDArray[np.float32]], Any]


@dataclass(frozen=True)
class Verdict:
    """What the judges made of one utterance."""

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
        """`references` holds a folder of recordings for each known speaker; without it nobody is
        asked whose voice it is. `threads` is for each recogniser (default 2)."""
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

    def judge(self, utterance: Utterance) -> Verdict:
        """Ask every judge; one that has heard this very audio is not asked again."""
        missing = max(0, LEAST_SAMPLES - len(utterance.audio))
        audio = np.pad(utterance.audio, (0, missing))
        heard = {
            judge.name: str(self._ask(judge.name, judge.transcribe, audio))
            for judge in self._recognisers
        }
        return Verdict(
            utterance.text,
            len(utterance.audio) / SAMPLE_RATE_HZ,
            utterance.stopped,
            heard,
            {name: count_mistakes(utterance.text, text) for name, text in heard.items()},
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
