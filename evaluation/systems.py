"""What is judged: bundles, folders of recordings, and recordings through a bundle's codec.

In: sentences, and where their speech comes from. Out: a `System`, whose `SpokenSentence`s come one
by one, in the order of the sentences and at the rate of the judges. It uses bundles only through
`runtime.TTS`, as any user does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from commands.errors import UserError
from evaluation.recognisers import SAMPLE_RATE_HZ
from evaluation.sentences import Sentence
from train.data.recordings import find_recordings
from train.data.silence import trim_silence

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SILENCE_HOP_SAMPLES = 200  # silence is measured in frames of 12.5 ms
HOW_TO_RECORD = "let the teacher read them: python -m samples.demo_voice.synthesize FILE DIR"


@dataclass(frozen=True)
class SpokenSentence:
    """One sentence as one system said it; `text` is its reading."""

    text: str
    audio: NDArray[np.float32]  # (samples,) at the rate of the judges
    stopped: bool = True  # False: cut off at the bound on its length
    steps: int | None = None  # None for recordings
    synthesis_seconds: float | None = None


@dataclass(frozen=True)
class System:
    """What speaks the sentences. `engine` is a bundle's name, None for recordings. `voice` is None
    for recordings and for a bundle's default voice."""

    name: str
    spoken: Iterator[SpokenSentence]
    engine: str | None = None
    voice: str | None = None


def open_bundle(
    name: str,
    engine: Path,
    sentences: Sequence[Sentence],
    voices: Sequence[str],
    threads: int | None,
    first_seed: int = 0,
) -> list[System]:
    """One system for each voice of a bundle; each loads the bundle when it begins to speak.

    Raises:
        UserError: no bundle, or it has no such voice.
    """
    from runtime.bundle.manifest import read_manifest

    chosen = choose_voices(engine, list(read_manifest(engine).voices), voices)
    return [
        System(
            name if len(chosen) == 1 else f"{name} {_voice_name(voice)}",
            speak(engine, sentences, voice, threads, first_seed),
            engine=name,
            voice=None if voice is None else _voice_name(voice),
        )
        for voice in chosen
    ]


def choose_voices(engine: Path, own: Sequence[str], wanted: Sequence[str]) -> list[str | None]:
    """The voices to speak in: those in `wanted`, in which "all" means each of the bundle's `own`.
    If none is wanted, [None], the default voice."""
    chosen = [name for voice in wanted for name in (own if voice == "all" else [voice])]
    for voice in chosen:
        if voice not in own and not Path(voice).is_file():
            raise UserError(f"{engine}: no voice {voice}; it has {', '.join(own) or 'none'}")
    return list(dict.fromkeys(chosen)) or [None]


def speak(
    engine: Path,
    sentences: Sequence[Sentence],
    voice: str | None = None,
    threads: int | None = None,
    first_seed: int = 0,
) -> Iterator[SpokenSentence]:
    """Each sentence from a bundle, at its default sampling, with consecutive seeds."""
    from runtime import TTS
    from runtime.speech.sampling import seeded

    tts = TTS.load(engine, threads=threads)
    manifest = tts.bundle.manifest
    heads = manifest.language_model.heads
    for seed, sentence in enumerate(sentences, first_seed):
        start = time.perf_counter()
        spoken = tts.synthesize(
            sentence.text, voice=voice, sampling=seeded(manifest.sampling, seed)
        )
        seconds = time.perf_counter() - start
        steps = -(-spoken.frames.size // heads)
        audio = _for_judges(spoken.audio, tts.sample_rate)
        yield SpokenSentence(sentence.reading, audio, spoken.finished, steps, seconds)


def _for_judges(audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """The same speech at the rate of the judges."""
    import soxr

    if rate_hz == SAMPLE_RATE_HZ:
        return audio
    return np.ascontiguousarray(soxr.resample(audio, rate_hz, SAMPLE_RATE_HZ), np.float32)


def _voice_name(voice: str | None) -> str:
    """A voice as tables name it: its name, or its file's name without folder and suffix."""
    assert voice is not None, "there are several only if they have names"
    return Path(voice).stem if Path(voice).is_file() else voice


def open_recordings(name: str, folder: Path, sentences: Sequence[Sentence], trim: bool) -> System:
    """Recordings of the sentences, found by their texts if these are known, otherwise in the order
    of their names; `trim` cuts the silence around them."""
    readings = [sentence.reading for sentence in sentences]
    return System(name, _read(match_recordings(folder, readings), readings, trim))


def open_codec_copy(name: str, engine: Path, recordings: System, threads: int | None) -> System:
    """Recordings through a bundle's codec. No language model on this codec is expected to sound
    better."""
    return System(name, copy_recordings(engine, recordings.spoken, threads))


def copy_recordings(
    engine: Path, originals: Iterator[SpokenSentence], threads: int | None = None
) -> Iterator[SpokenSentence]:
    """Recordings encoded and decoded, each in its own voice."""
    from runtime import TTS

    tts = TTS.load(engine, threads=threads)
    for original in originals:
        frames, speaker = tts.encode(original.audio, SAMPLE_RATE_HZ)
        audio = _for_judges(tts.decode(frames, speaker), tts.sample_rate)
        yield SpokenSentence(original.text, audio)


def match_recordings(folder: Path, readings: Sequence[str]) -> list[Path]:
    """A file for each sentence. Raises `UserError` naming a sentence without a recording."""
    found = find_recordings(folder)
    by_text = {recording.text.strip(): recording.path for recording in found if recording.text}
    if not by_text:
        if len(found) < len(readings):
            raise UserError(f"{folder}: {len(found)} recordings for {len(readings)} sentences")
        return [recording.path for recording in found[: len(readings)]]
    missing = [text for text in readings if text not in by_text]
    if missing:
        raise UserError(
            f"{folder}: no recording of {len(missing)} of the sentences, such as {missing[0]!r}; "
            f"{HOW_TO_RECORD}"
        )
    return [by_text[text] for text in readings]


def _read(files: Sequence[Path], readings: Sequence[str], trim: bool) -> Iterator[SpokenSentence]:
    from runtime.audio.sound import read_recording

    for text, file in zip(readings, files, strict=True):
        audio = read_recording(file, rate_hz=SAMPLE_RATE_HZ)
        if trim:
            audio = trim_silence(audio, _SILENCE_HOP_SAMPLES, SAMPLE_RATE_HZ)
        yield SpokenSentence(text, audio)
