"""The similarity of voices, by a speaker-verification network.

In: audio float32 mono 16 kHz, and recordings of known speakers. Out: the cosine between voices. The
network is the GE2E encoder (arXiv 1710.10467). Its weights come with the package resemblyzer. The
package is not imported, because it needs two others that no longer install everywhere. The network
is independent of the codec's speaker embeddings, so it can judge them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.audio.sound import read_recording
from train.data.recordings import find_recordings

if TYPE_CHECKING:
    import torch

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, MEL_CHANNELS = 400, 160, 40
PART_FRAMES = 160  # the network takes 1.6 s at a time,
PARTS_PER_SECOND = 1.3  # in this many overlapping parts for each second
LEAST_COVERAGE = 0.75  # share of the last part that must be speech
LEAST_LEVEL_DB = -30.0  # quieter speech is raised to this level, relative to full scale
SILENCE_DB = 30.0  # below the loudest part; such ends are cut off

MOST_REFERENCES = 50  # recordings of one speaker; more do not change the mean

Audio = NDArray[np.float32]
Embedding = NDArray[np.float32]


class SpeakerEncoder:
    """Audio to a unit vector; vectors of one speaker have similar directions. The weights are
    loaded when it is first asked."""

    name = "speaker"

    def __init__(self) -> None:
        found = find_spec("resemblyzer")
        if found is None or found.origin is None:
            raise UserError(
                "resemblyzer is not installed; pip install --no-deps resemblyzer (and librosa)"
            )
        self.version = f"resemblyzer {version('resemblyzer')}"
        self._weights = Path(found.origin).parent / "pretrained.pt"

    @cached_property
    def _network(self) -> tuple[torch.nn.LSTM, torch.nn.Linear]:
        return load_network(self._weights)

    def embed(self, audio: Audio) -> Embedding:
        """Audio float32 (samples,) at 16 kHz -> float32 (256,) of length 1."""
        import torch

        layers, projection = self._network
        mel = mel_spectrogram(prepare(audio))
        parts = torch.from_numpy(cut_parts(mel, len(mel) * HOP_SAMPLES))
        with torch.inference_mode():
            _, (hidden, _) = layers(parts)  # hidden: (layers, parts, 256)
            embeddings = torch.relu(projection(hidden[-1]))
            embeddings = torch.nn.functional.normalize(embeddings, dim=-1)
        return _unit(embeddings.numpy().mean(axis=0))


def load_network(path: Path) -> tuple[torch.nn.LSTM, torch.nn.Linear]:
    import torch

    weights = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    layers = torch.nn.LSTM(MEL_CHANNELS, 256, num_layers=3, batch_first=True)
    projection = torch.nn.Linear(256, 256)
    for module, prefix in ((layers, "lstm."), (projection, "linear.")):
        own = {name: weights[prefix + name] for name in module.state_dict()}
        module.load_state_dict(own)
    return layers.eval(), projection.eval()


def prepare(audio: Audio) -> Audio:
    """Speech at a level that the network was trained on, without silence at its ends."""
    import librosa

    audio, _ = librosa.effects.trim(audio, top_db=SILENCE_DB)
    level_db = 20 * math.log10(max(float(np.sqrt(np.mean(audio**2))), 1e-6))
    return np.asarray(audio * 10 ** (max(LEAST_LEVEL_DB - level_db, 0.0) / 20), np.float32)


def mel_spectrogram(audio: Audio) -> NDArray[np.float32]:
    """Mel power spectrogram, not its logarithm: float32 (frames, 40)."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=audio,
        sr=SAMPLE_RATE_HZ,
        n_fft=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        n_mels=MEL_CHANNELS,
    )
    return np.ascontiguousarray(mel.T, np.float32)


def cut_parts(mel: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Overlapping parts (parts, 160, 40); the last one is padded with zeros, or left out if too
    little of it is speech."""
    stride = round(SAMPLE_RATE_HZ / PARTS_PER_SECOND / HOP_SAMPLES)
    starts = list(range(0, max(1, len(mel) - PART_FRAMES + stride + 1), stride))
    covered = samples / HOP_SAMPLES - starts[-1]
    if len(starts) > 1 and covered < LEAST_COVERAGE * PART_FRAMES:
        starts.pop()
    padded = np.pad(mel, ((0, PART_FRAMES), (0, 0)))
    return np.stack([padded[start : start + PART_FRAMES] for start in starts])


@dataclass(frozen=True)
class References:
    """Known speakers: a unit vector for each, the mean direction of their recordings."""

    embeddings: dict[str, Embedding]

    def similarities(self, embedding: Any) -> dict[str, float]:
        """The cosine to each speaker. `embedding`: 256 floats of length 1."""
        heard = np.asarray(embedding, np.float32)
        return {name: float(heard @ known) for name, known in self.embeddings.items()}


def read_references(folder: Path, embed: Callable[[Audio], Any]) -> References:
    """Speakers from `folder`/NAME/…, up to `MOST_REFERENCES` recordings of each, as `embed` hears
    them.

    Raises:
        UserError: fewer than two folders of recordings.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(folders) < 2:
        raise UserError(f"{folder}: needs a folder of recordings for each of several speakers")
    return References({path.name: _mean_voice(path, embed) for path in folders})


def _mean_voice(folder: Path, embed: Callable[[Audio], Any]) -> Embedding:
    recordings = find_recordings(folder)[:MOST_REFERENCES]
    voices = [
        embed(read_recording(recording.path, rate_hz=SAMPLE_RATE_HZ)) for recording in recordings
    ]
    return _unit(np.mean(voices, axis=0))


def _unit(vector: NDArray[np.float32]) -> Embedding:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)
