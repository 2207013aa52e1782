"""Recordings in memory, from which training crops are drawn.

In: recordings, a codec's rate and hop, and an amount of audio in hours. Out: crops of equal
length, in pairs: rows 2k and 2k + 1 of a batch are of one speaker, so that each can take the
other's timbre. Draws depend only on the seed and on the step, so a resumed run sees the same
crops as an uninterrupted one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commands.errors import UserError
from commands.progress import progress, tell
from formats.checkpoint.codec_config import CodecConfig
from runtime.audio.sound import read_recording
from train.data.recordings import Recording, explain_missing

MAX_SECONDS = 60.0  # longer recordings are left out
_INT16_SCALE = 32768.0  # keeps 16-bit recordings exactly


@dataclass(frozen=True)
class Crops:
    """Where a batch's crops begin: recording index and first frame, both int64 [B]."""

    recordings: np.ndarray
    first_frames: np.ndarray


class AudioPool:
    """Recordings as int16, cut to whole frames of `hop_samples`. `names` are their uttids."""

    def __init__(
        self,
        audio: Sequence[np.ndarray],
        speakers: Sequence[str],
        hop_samples: int,
        names: Sequence[str] = (),
    ) -> None:
        self.audio = [samples[: len(samples) // hop_samples * hop_samples] for samples in audio]
        self.hop_samples = hop_samples
        self.names = list(names)
        self.lengths = np.array([len(samples) // hop_samples for samples in self.audio])  # frames
        self._by_speaker: dict[str, list[int]] = defaultdict(list)
        for index, speaker in enumerate(speakers):
            self._by_speaker[speaker].append(index)
        self._speakers = list(speakers)

    def draw(self, seed: int, step: int, batch: int, crop_frames: int) -> Crops:
        """Crop positions for one step; `batch` is even."""
        rng = np.random.default_rng((seed, step))
        long_enough = np.flatnonzero(self.lengths >= crop_frames)
        firsts = rng.choice(long_enough, batch // 2)
        chosen = np.stack([firsts, [self._partner(i, crop_frames, rng) for i in firsts]], axis=1)
        recordings = chosen.reshape(-1)
        return Crops(recordings, rng.integers(0, self.lengths[recordings] - crop_frames + 1))

    def _partner(self, index: int, crop_frames: int, rng: np.random.Generator) -> int:
        candidates = self._by_speaker[self._speakers[index]]
        for _ in range(8):  # nearly all recordings are long enough
            partner = candidates[rng.integers(len(candidates))]
            if partner != index and self.lengths[partner] >= crop_frames:
                return partner
        return index

    def cut(self, crops: Crops, crop_frames: int) -> np.ndarray:
        """The audio of the crops, float32 [B, crop_frames * hop]."""
        hop = self.hop_samples
        rows = [
            self.audio[index][first * hop : (first + crop_frames) * hop]
            for index, first in zip(crops.recordings, crops.first_frames, strict=True)
        ]
        return np.stack(rows).astype(np.float32) / _INT16_SCALE

    def whole(self, index: int) -> np.ndarray:
        """One recording, float32 [n]."""
        return self.audio[index].astype(np.float32) / _INT16_SCALE


def load_pool(
    recordings: Sequence[Recording],
    hours: float,
    codec: CodecConfig,
    crop_frames: int,
    seed: int,
) -> AudioPool:
    """Read a random choice of `hours` of audio at the codec's rate.

    Unreadable recordings are listed and left out. A recording without a speaker is taken for one of
    a new speaker. `crop_frames` is the longest crop that will be drawn.

    Raises:
        UserError: no recording is that long.
    """
    rate_hz = codec.sample_rate_hz
    wanted = int(hours * 3600 * rate_hz)
    audio: list[np.ndarray] = []
    speakers: list[str] = []
    names: list[str] = []
    read = left_out = 0
    with progress("read seconds of audio", wanted // rate_hz, to_stderr=True) as stage:
        for index in np.random.default_rng(seed).permutation(len(recordings)):
            recording = recordings[index]
            samples = _read_or_tell(recording.path, rate_hz)
            if samples is None:
                left_out += 1
                continue
            audio.append(_to_int16(samples))
            speakers.append(recording.speaker or f"recording {index}")
            names.append(recording.uttid)
            read += len(samples)
            stage.advance(len(samples) // rate_hz)
            if read >= wanted:
                break
    if left_out:
        tell(f"{left_out} of {left_out + len(audio)} recordings left out")
    pool = AudioPool(audio, speakers, codec.hop_samples, names)
    if not len(pool.lengths) or pool.lengths.max() < crop_frames:
        raise UserError(f"no readable recording is as long as a crop of {crop_frames} frames")
    return pool


def _to_int16(samples: np.ndarray) -> np.ndarray:
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(samples * _INT16_SCALE), limits.min, limits.max).astype(np.int16)


def _read_or_tell(path: Path, rate_hz: int) -> np.ndarray | None:
    try:
        if missing := explain_missing(path):
            raise UserError(missing)
        return read_recording(path, MAX_SECONDS, rate_hz=rate_hz)
    except (UserError, OSError) as error:
        tell(f"left out: {error}")
        return None
