"""A small model that learns from recordings and their texts which frame speaks which symbol.

In: utterances as log-mel frames and symbol ids. Out: durations of the symbols. This is the aligner
of "One TTS Alignment To Rule Them All" (Badlani et al., arXiv 2108.10447): two shallow encoders
whose outputs are close where frame and symbol belong together, trained with the forward-sum loss
and a diagonal prior. Two things differ: the prior covers only the speech, not the silence around
it, and it fades away in the first half of the training. It knows no files, alphabets or languages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from commands.errors import UserError
from commands.progress import progress
from formats.checkpoint.codec_config import CodecConfig
from train.alignment.paths import (
    IMPOSSIBLE,
    find_durations,
    find_speech_range,
    log_diagonal_prior,
    log_silence_prior,
)
from train.codec_model.mel import MelSpectrogram

MEL_BINS = 80
HIGHEST_HZ = 8000.0
_BLANK_LOG_PROB = -1.0  # of frames that no symbol claims, as in the paper
_TEMPERATURE = 0.3  # of squared distances
_PRIOR_UNTIL = 0.5  # of the training
_BATCH = 16


@dataclass(frozen=True)
class AlignableUtterance:
    """`log_mel` float16 [T, bins], a row for each codec frame; `symbols` int64 [N] ids of silence,
    each character, silence, N <= T; `speech` as `find_speech_range` gives it."""

    log_mel: np.ndarray
    symbols: np.ndarray
    speech: tuple[int, int]


class AlignmentFeatures:
    """Audio float32 [n] at the codec's rate -> utterances. The window is two frames long."""

    def __init__(self, codec: CodecConfig) -> None:
        self._hop = hop = codec.hop_samples
        n_fft = 1 << (2 * hop - 1).bit_length()
        n_fft += (n_fft - hop) % 2  # as many samples are added at both ends
        highest_hz = min(HIGHEST_HZ, codec.sample_rate_hz / 2)
        self._mel = MelSpectrogram(codec.sample_rate_hz, n_fft, hop, 2 * hop, MEL_BINS, highest_hz)

    @torch.no_grad()
    def __call__(self, audio: np.ndarray, symbols: np.ndarray, where: str) -> AlignableUtterance:
        """Each mel bin is normalised over the utterance, which removes voice and microphone.

        Raises:
            UserError: fewer frames than symbols; the message begins with `where`.
        """
        frames = len(audio) // self._hop
        if frames < len(symbols):
            raise UserError(f"{where}: {frames} frames are too few for {len(symbols)} symbols")
        log_mel = self._mel(torch.from_numpy(audio)[None])[0].T.numpy()
        speech = find_speech_range(log_mel.mean(axis=1), len(symbols))
        normalised = (log_mel - log_mel.mean(axis=0)) / (log_mel.std(axis=0) + 1e-3)
        return AlignableUtterance(normalised.astype(np.float16), symbols, speech)


class Aligner(nn.Module):
    """Scores frames against symbols; both encoders see one neighbour on each side."""

    def __init__(self, alphabet_size: int, width: int = 128, channels: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet_size, width)
        self.text_encoder = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1), nn.ReLU(), nn.Conv1d(width, channels, 1)
        )
        self.mel_encoder = nn.Sequential(
            nn.Conv1d(MEL_BINS, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(width, channels, 1),
        )

    def forward(self, log_mel: torch.Tensor, symbols: torch.Tensor) -> torch.Tensor:
        """log_mel [B, T, bins], symbols int64 [B, N] -> scores [B, T, N]: minus the squared
        distance, without a term that is the same for all symbols of a frame."""
        queries = self.mel_encoder(log_mel.transpose(1, 2)).transpose(1, 2)  # (B, T, C)
        keys = self.text_encoder(self.embedding(symbols).transpose(1, 2))  # (B, C, N)
        return _TEMPERATURE * (2 * queries @ keys - keys.square().sum(1, keepdim=True))

    @torch.no_grad()
    def align(self, utterances: Sequence[AlignableUtterance]) -> list[np.ndarray]:
        """Frames of each symbol, int64 [N] that add up to T, for each utterance in its order."""
        durations: list[np.ndarray] = [np.zeros(0, np.int64)] * len(utterances)
        for indices in _length_sorted(utterances):
            batch = _collate([utterances[i] for i in indices])
            log_probs = batch.log_probs(self).numpy()
            lengths = batch.frame_counts.tolist(), batch.symbol_counts.tolist()
            for index, counts in zip(indices, find_durations(log_probs, *lengths), strict=True):
                durations[index] = counts
        return durations


@dataclass(frozen=True)
class _Batch:
    """Padded utterances: log_mel [B, T, bins], symbols [B, N], and the lengths without padding."""

    log_mel: torch.Tensor
    symbols: torch.Tensor
    frame_counts: torch.Tensor
    symbol_counts: torch.Tensor
    speech: Sequence[tuple[int, int]]

    def log_probs(self, model: Aligner) -> torch.Tensor:
        """[B, T, N] for the utterance's symbols at each frame, with the prior on silence. Padding
        is impossible."""
        padding = torch.arange(self.symbols.shape[1]) >= self.symbol_counts[:, None]
        scores = model(self.log_mel, self.symbols)
        log_probs = F.log_softmax(scores.masked_fill(padding[:, None], IMPOSSIBLE), dim=-1)
        return log_probs + self.prior(log_silence_prior)

    def prior(self, make: Callable[[int, int, tuple[int, int]], np.ndarray]) -> torch.Tensor:
        """`make` of each utterance's counts and speech, [B, T, N], 0 at padding."""
        prior = torch.zeros(len(self.speech), self.log_mel.shape[1], self.symbols.shape[1])
        counts = zip(self.frame_counts.tolist(), self.symbol_counts.tolist(), strict=True)
        for row, (frames, symbols), speech in zip(prior, counts, self.speech, strict=True):
            row[:frames, :symbols] = torch.from_numpy(make(frames, symbols, speech))
        return prior


def _collate(utterances: Sequence[AlignableUtterance]) -> _Batch:
    log_mels = [torch.from_numpy(u.log_mel).float() for u in utterances]
    symbols = [torch.from_numpy(u.symbols) for u in utterances]
    return _Batch(
        nn.utils.rnn.pad_sequence(log_mels, batch_first=True),
        nn.utils.rnn.pad_sequence(symbols, batch_first=True),
        torch.tensor([len(frames) for frames in log_mels]),
        torch.tensor([len(ids) for ids in symbols]),
        [u.speech for u in utterances],
    )


def forward_sum_loss(
    log_probs: torch.Tensor, frame_counts: torch.Tensor, symbol_counts: torch.Tensor
) -> torch.Tensor:
    """Mean over utterances of -log(probability of all monotonic paths) for each frame.

    `log_probs` [B, T, N]. CTC with the symbols' places as labels, and a blank of fixed weight.
    """
    with_blank = F.log_softmax(F.pad(log_probs, (1, 0), value=_BLANK_LOG_PROB), dim=-1)
    places = torch.arange(1, log_probs.shape[2] + 1).expand(len(log_probs), -1)
    losses = F.ctc_loss(
        with_blank.transpose(0, 1), places, frame_counts, symbol_counts, reduction="none"
    )
    return (losses / frame_counts).mean()


class AlignerTraining:
    """A training of `steps` batches of 16 utterances of similar length. It can stop and
    continue."""

    def __init__(self, alphabet_size: int, steps: int, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = Aligner(alphabet_size)
        self.step = 0
        self._steps, self._seed = steps, seed
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-4
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: min((step + 1) / 50, 1.0, 0.05 + 1.9 * (1 - step / steps))
        )

    @property
    def finished(self) -> bool:
        return self.step >= self._steps

    def run(
        self, utterances: Sequence[AlignableUtterance], stop: Callable[[], bool] = lambda: False
    ) -> Aligner:
        """Train until the last step, or until `stop` returns true."""
        batches = _length_sorted(utterances)
        rng = np.random.default_rng(self._seed)
        rounds = -(-self._steps // len(batches))
        order = np.concatenate([rng.permutation(len(batches)) for _ in range(rounds)])
        with progress("learn to align", self._steps, done=self.step, to_stderr=True) as stage:
            while not self.finished and not stop():
                loss = self._take_step([utterances[i] for i in batches[order[self.step]]])
                if self.step % 20 == 0:
                    stage.note(f"loss {loss.item():.3f}")
                self.step += 1
                stage.advance()
        return self.model.eval()

    def _take_step(self, utterances: Sequence[AlignableUtterance]) -> torch.Tensor:
        prior_weight = max(0.0, 1.0 - self.step / (_PRIOR_UNTIL * self._steps))
        loss = _loss(utterances, self.model.train(), prior_weight)
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        return loss

    def state(self) -> dict[str, Any]:
        """A state for `load_state`."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue a training of the same steps and seed."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def train_aligner(
    utterances: Sequence[AlignableUtterance], alphabet_size: int, steps: int, seed: int = 0
) -> Aligner:
    """An aligner, trained from the beginning to the end."""
    return AlignerTraining(alphabet_size, steps, seed).run(utterances)


def _length_sorted(utterances: Sequence[AlignableUtterance]) -> list[np.ndarray]:
    """Indices of utterances of similar length, in batches."""
    order = np.argsort([len(u.log_mel) for u in utterances], kind="stable")
    return [order[first : first + _BATCH] for first in range(0, len(order), _BATCH)]


def _loss(
    utterances: Sequence[AlignableUtterance], model: Aligner, prior_weight: float
) -> torch.Tensor:
    batch = _collate(utterances)
    log_probs = batch.log_probs(model)
    if prior_weight > 0:
        log_probs = log_probs + prior_weight * batch.prior(log_diagonal_prior)
    return forward_sum_loss(log_probs, batch.frame_counts, batch.symbol_counts)
