"""Speech tokens of a pool's recordings: the codec's own, and what models predicted in their place.

In: a frozen codec, an audio pool, files of train.predict. Out: frames and speaker embeddings, as
a decoder is to learn from them. Recordings are encoded when first asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from runtime.errors import UserError
from train.audio_pool import AudioPool, Crops
from train.codec_training_config import PredictedTokens
from train.facodec import FACodec
from train.tokenization import find_speech
from train.tokens import read_utterances


class PoolTokens:
    """`predicted` has variants of some recordings' frames, of the speech without the silence
    around it, as train.prepare cuts it."""

    def __init__(
        self,
        codec: FACodec,
        pool: AudioPool,
        predicted: Sequence[PredictedTokens] = (),
        predicted_share: float = 0.0,
    ) -> None:
        self._codec, self._pool, self._share = codec, pool, predicted_share
        self._encoded: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._variants = read_predicted(predicted, pool) if predicted else {}

    def cut(self, crops: Crops, crop_frames: int, seed: int) -> torch.Tensor:
        """The frames of the crops, int64 [B, crop_frames, 3]; a share of them as predicted."""
        rng = np.random.default_rng(seed)
        rows = []
        for index, first in zip(crops.recordings, crops.first_frames, strict=True):
            wanted, choice = rng.random(2)
            frames = self._encode(index)[0]
            variants = self._variants.get(index, ())
            if variants and wanted < self._share:
                frames = self._as_predicted(index, variants[int(choice * len(variants))])
            rows.append(frames[first : first + crop_frames])
        return torch.stack(rows)

    def speakers(self, crops: Crops) -> torch.Tensor:
        """float32 [B, C]."""
        return torch.stack([self._encode(index)[1] for index in crops.recordings])

    def _as_predicted(self, index: int, predicted: np.ndarray) -> torch.Tensor:
        """The whole recording, its speech as predicted."""
        frames = self._encode(index)[0].clone()
        first, last = find_speech(self._pool.whole(index), self._pool.hop_samples)
        if last - first != len(predicted):
            raise UserError(
                f"{self._pool.names[index]}: {len(predicted)} predicted frames for "
                f"{last - first} frames of speech; are they of the same recordings?"
            )
        frames[first:last] = torch.from_numpy(predicted).to(frames)
        return frames

    @torch.no_grad()
    def _encode(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames int64 [T, 3] and the speaker, the whole recording encoded at once, as in use."""
        if index not in self._encoded:
            audio = torch.from_numpy(self._pool.whole(index))[None]
            device = next(self._codec.parameters()).device
            frames, speaker = self._codec.encode(audio.to(device))
            self._encoded[index] = frames[0], speaker[0]
        return self._encoded[index]


def read_predicted(
    predicted: Sequence[PredictedTokens], pool: AudioPool
) -> dict[int, list[np.ndarray]]:
    """What the files predict for recordings of the pool. Raises `UserError` if that is nothing."""
    indices = {name: index for index, name in enumerate(pool.names)}
    variants: dict[int, list[np.ndarray]] = defaultdict(list)
    for source in predicted:
        for utterance in read_utterances(Path(source.file), source.heads):
            if utterance.uttid in indices:
                variants[indices[utterance.uttid]].append(utterance.frames)
    if not variants:
        raise UserError(f"{predicted[0].file}: holds no utterance of the recordings")
    return variants
