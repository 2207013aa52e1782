"""First phase of training a codec: the tokenizer.

Encoders and quantizers are trained together with a mel decoder, so that the codes describe a mel
spectrogram. The mel decoder is discarded afterwards. In: a codec with initial weights, and a pool
of audio. Out: the same codec, trained except for its waveform decoder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from train.codec_model.facodec import FACodec, MelUnit
from train.codec_model.vector_quantizer import VectorQuantizer
from train.codec_training.audio_pool import AudioPool
from train.codec_training.codebook_learning import CodebookLearner, quantize_straight_through
from train.codec_training.config import PhaseConfig
from train.codec_training.phase import Computing, swap_partners, take_step

# About those of log-mels of speech; folded into the first and last layers, for a good start
_MEL_MEAN, _MEL_SPREAD = -4.0, 3.0
_MEL_DECODER_CHANNELS = 128
_MEL_DECODER_UNITS = 3
_SQUARED_ERROR_WEIGHT = 0.25
_COMMITMENT_WEIGHT = 2.0
_LARGEST_GRADIENT = 1.0


class TokenizerPhase:
    """Trains `codec` in place, except its waveform decoder."""

    def __init__(
        self,
        codec: FACodec,
        pool: AudioPool,
        config: PhaseConfig,
        seed: int,
        computing: Computing | None = None,
    ) -> None:
        self.codec, self.pool, self.config, self.seed = codec, pool, config, seed
        self.computing = computing or Computing()
        self.device = next(codec.parameters()).device
        mel_decoder = make_mel_decoder(codec.config.latent_channels, codec.config.mel.bins)
        self.mel_decoder = mel_decoder.to(self.device)
        decoder = codec.decoder
        self.groups = [decoder.prosody_quantizer.codebooks, decoder.content_quantizer.codebooks]
        self.layers = [layer for group in self.groups for layer in group]
        self.learners = [CodebookLearner(layer).to(self.device) for layer in self.layers]
        fold_mel_statistics(codec)
        self.trained = nn.ModuleList([codec.encoder, decoder, self.mel_decoder])
        self._freeze_other_parts()
        parameters = [p for p in self.trained.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98))

    def _freeze_other_parts(self) -> None:
        """Freeze what the optimizer does not train: codebooks learn by averages, the waveform
        decoder has a phase of its own, and residual codebooks are not used."""
        self.codec.decoder.model.requires_grad_(False)
        for quantizer in self.codec.decoder.quantizer[2:]:
            quantizer.requires_grad_(False)
        for layer in self.layers:
            layer.codebook.requires_grad_(False)

    def train_step(self, step: int) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        crops = self.pool.draw(self.seed, step, self.config.batch, self.config.crop_frames)
        audio = torch.from_numpy(self.pool.cut(crops, self.config.crop_frames)).to(self.device)
        log_mel = self.codec.encoder.mel_transform(audio)
        with self.computing.mixed(self.device):
            latents = self.codec.encoder(audio, log_mel)  # (B, T, C)
        latents = latents.float()
        embedded, commitment = self._quantize(latents, log_mel, step == 0, generator)
        timbre = swap_partners(self.codec.decoder.embed_speaker(latents))
        with self.computing.mixed(self.device):
            decoded = self.mel_decoder(
                self.codec.decoder.apply_timbre(embedded, timbre).transpose(1, 2)
            )
        decoded = decoded.float() * _MEL_SPREAD + _MEL_MEAN
        absolute, squared = F.l1_loss(decoded, log_mel), F.mse_loss(decoded, log_mel)
        loss = absolute + _SQUARED_ERROR_WEIGHT * squared + _COMMITMENT_WEIGHT * commitment
        take_step(self.optimizer, loss, _LARGEST_GRADIENT)
        return {"mel_l1": absolute.item(), "commitment": commitment.item()}

    def _quantize(
        self,
        latents: torch.Tensor,
        log_mel: torch.Tensor,
        first: bool,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of all codebooks' vectors [B, T, C] and the commitment loss; codebooks follow."""
        prosody = self.codec.decoder.encode_prosody(log_mel, latents.shape[1])
        learners = iter(self.learners)
        vectors, losses = [], []
        for group, rest in zip(self.groups, (prosody, latents), strict=True):
            for layer in group:
                learner = next(learners)
                if first:
                    start_codebook(layer, learner, rest, generator)
                vector, loss, directions, codes = quantize_straight_through(layer, rest)
                learner.update(layer, directions, codes, generator)
                rest = rest - vector  # what the next codebook of the group quantizes
                vectors.append(vector)
                losses.append(loss)
        return torch.stack(vectors).sum(0), torch.stack(losses).sum()

    def state(self) -> dict[str, Any]:
        return {
            "trained": self.trained.state_dict(),
            "learners": [learner.state_dict() for learner in self.learners],
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.trained.load_state_dict(state["trained"])
        for learner, values in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(values)
        self.optimizer.load_state_dict(state["optimizer"])

    def trained_codec(self) -> FACodec:
        return self.codec


def make_mel_decoder(channels: int, bins: int) -> nn.Sequential:
    """[B, C, T] -> normalised log-mel [B, bins, T]."""
    hidden = _MEL_DECODER_CHANNELS
    return nn.Sequential(
        nn.Conv1d(channels, hidden, 5, padding=2),
        *(MelUnit(hidden) for _ in range(_MEL_DECODER_UNITS)),
        nn.Conv1d(hidden, bins, 1),
    )


@torch.no_grad()
def fold_mel_statistics(codec: FACodec) -> None:
    """Change the layers that read log-mels so that they start as if these had mean 0, spread 1."""
    readers: list[Any] = [codec.decoder.melspec_linear]
    if codec.encoder.from_mel:
        readers.append(codec.encoder.block[0])
    for layer in readers:
        layer.weight /= _MEL_SPREAD
        layer.bias -= _MEL_MEAN * layer.weight.flatten(1).sum(1)


def start_codebook(
    layer: VectorQuantizer,
    learner: CodebookLearner,
    latents: torch.Tensor,
    generator: torch.Generator,
) -> None:
    """Begin a codebook with the k-means of `latents` [B, T, C]."""
    with torch.no_grad():
        directions = F.normalize(layer.in_proj(latents), dim=-1).flatten(0, 1)
    learner.start(layer, directions, generator)
