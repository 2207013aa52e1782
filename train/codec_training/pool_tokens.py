"""Speech tokens of a pool's recordings: codec tokens, some of them replaced by model predictions.

In: a frozen codec, an audio pool, files of train.predict. Out: the frames and speaker embeddings
that a decoder learns from. A recording is encoded when it is first used.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig
from formats.tokens import read_utterances
from runtime.audio.conditioning import condition_if_spoken
from runtime.audio.sound import Sound
from train.codec_model.facodec import FACodec
from train.codec_training.audio_pool import AudioPool, Crops
from train.codec_training.config import PredictedTokens
from train.data.silence import find_speech


@dataclass(frozen=True)
class PredictedSpeech:
    """Frames int64 [T, K] that a model predicted for a recording, from its frame `first` on."""

    first: int
    frames: np.ndarray


class PoolTokens:
    """The tokens of a pool. `predicted` names files with other frames for some recordings. They
    cover the speech, without the silence that train.prepare cuts off."""

    def __init__(
        self,
        codec: FACodec,
        pool: AudioPool,
        predicted: Sequence[PredictedTokens] = (),
        predicted_share: float = 0.0,
    ) -> None:
        self._codec, self._pool, self._share = codec, pool, predicted_share
        self._encoded: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._variants = read_predicted(predicted, pool, codec.config) if predicted else {}

    def cut(self, crops: Crops, crop_frames: int, seed: int) -> torch.Tensor:
        """The frames of the crops, int64 [B, crop_frames, K]; a share of them is predicted."""
        rng = np.random.default_rng(seed)
        rows = []
        for index, first in zip(crops.recordings, crops.first_frames, strict=True):
            wanted, choice = rng.random(2)
            frames = self._encode(index)[0]
            variants = self._variants.get(index, ())
            if variants and wanted < self._share:
                frames = _put(variants[int(choice * len(variants))], frames)
            rows.append(frames[first : first + crop_frames])
        return torch.stack(rows)

    def speakers(self, crops: Crops) -> torch.Tensor:
        """float32 [B, C]."""
        return torch.stack([self._encode(index)[1] for index in crops.recordings])

    @torch.no_grad()
    def _encode(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames int64 [T, K] of the whole recording, and the speaker of its speech only."""
        if index not in self._encoded:
            device = next(self._codec.parameters()).device
            audio = self._pool.whole(index)
            name = self._pool.names[index] if self._pool.names else f"recording {index}"
            rate_hz = self._codec.config.sample_rate_hz
            speech = condition_if_spoken(Sound(audio, rate_hz, name), rate_hz)
            frames, _ = self._codec.encode(torch.from_numpy(audio)[None].to(device))
            _, speaker = self._codec.encode(torch.from_numpy(speech)[None].to(device))
            self._encoded[index] = frames[0], speaker[0]
        return self._encoded[index]


def read_predicted(
    predicted: Sequence[PredictedTokens], pool: AudioPool, codec: CodecConfig
) -> dict[int, list[PredictedSpeech]]:
    """Predictions for recordings of the pool, by the recording's index.

    Predictions that are not as long as the recording's speech are left out and counted.

    Raises:
        UserError: no prediction remains.
    """
    indices = {name: index for index, name in enumerate(pool.names)}
    variants: dict[int, list[PredictedSpeech]] = defaultdict(list)
    for source in predicted:
        left_out = 0
        for utterance in read_utterances(Path(source.file), source.heads, codec.streams):
            index = indices.get(utterance.uttid)
            if index is None:
                continue
            first, last = find_speech(pool.whole(index), codec.hop_samples, codec.sample_rate_hz)
            if last - first == len(utterance.frames):
                variants[index].append(PredictedSpeech(first, utterance.frames))
            else:
                left_out += 1
        if left_out:
            print(f"{source.file}: {left_out} left out, of another length", file=sys.stderr)
    if not variants:
        raise UserError(f"{predicted[0].file}: predicts nothing for these recordings")
    return variants


def _put(speech: PredictedSpeech, frames: torch.Tensor) -> torch.Tensor:
    """A copy of a recording's frames with the speech as predicted."""
    changed = frames.clone()
    changed[speech.first : speech.first + len(speech.frames)] = torch.from_numpy(speech.frames)
    return changed
