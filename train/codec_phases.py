"""The two phases of training a codec.

Tokenizer phase: encoders, quantizers and a mel decoder that is thrown away, so that codes hold
what a mel spectrogram needs. Decoder phase: the tokenizer is frozen, so tokens stay valid however
long the decoder goes on improving, and the convolution stack learns to make audio of codes.
Timbre enters as in use: each crop takes the speaker embedding of another recording of its
speaker, so content codes need not carry it and the embedding cannot carry content.

In: a codec and a pool of audio. Each phase has `train_step(step)` and a state to save. They do
not know files, budgets or learning-rate schedules.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from train.audio_pool import AudioPool
from train.codebook_learning import CodebookLearner, quantize_straight_through
from train.codec_adversary import Adversary
from train.codec_losses import SpectralLoss
from train.codec_training_config import DecoderPhaseConfig, PhaseConfig
from train.facodec import FACodec, MelUnit
from train.vector_quantizer import VectorQuantizer

# Speech log-mels, roughly; folded into first and last layers so that training starts well
_MEL_MEAN, _MEL_SPREAD = -4.0, 3.0
_MEL_DECODER_CHANNELS = 128
_MEL_DECODER_UNITS = 3
_SQUARED_ERROR_WEIGHT = 0.25
_COMMITMENT_WEIGHT = 2.0
_TOKENIZER_CLIP = 1.0
_DECODER_CLIP = 2.0
_AVERAGE_DECAY = 0.999


class Phase(Protocol):
    """What the training loop needs of a phase."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Its learning rate is set from outside."""

    def train_step(self, step: int) -> dict[str, float]:
        """One optimizer step; returns named losses."""

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs besides the codec and the step."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""

    def trained_codec(self) -> FACodec:
        """The codec as it is to be used now."""


class TokenizerPhase:
    """Trains `codec` in place, except its waveform decoder."""

    def __init__(self, codec: FACodec, pool: AudioPool, config: PhaseConfig, seed: int) -> None:
        self.codec, self.pool, self.config, self.seed = codec, pool, config, seed
        self.mel_decoder = make_mel_decoder(codec.config.latent_channels, codec.config.mel.bins)
        decoder = codec.decoder
        self.layers = [*decoder.prosody_quantizer.codebooks, *decoder.content_quantizer.codebooks]
        self.learners = [CodebookLearner(layer) for layer in self.layers]
        fold_mel_statistics(codec)
        self.trained = nn.ModuleList([codec.encoder, decoder, self.mel_decoder])
        self._freeze_what_learns_otherwise()
        parameters = [p for p in self.trained.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98))

    def _freeze_what_learns_otherwise(self) -> None:
        """Codebooks follow averages, the waveform decoder has its own phase, and residual
        codebooks are not used."""
        self.codec.decoder.model.requires_grad_(False)
        for quantizer in self.codec.decoder.quantizer[2:]:
            quantizer.requires_grad_(False)
        for layer in self.layers:
            layer.codebook.requires_grad_(False)

    def train_step(self, step: int) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        crops = self.pool.draw(self.seed, step, self.config.batch, self.config.crop_frames)
        audio = torch.from_numpy(self.pool.cut(crops, self.config.crop_frames))
        log_mel = self.codec.encoder.mel_transform(audio)
        latents = self.codec.encoder(audio, log_mel)  # (B, T, C)
        embedded, commitment = self._quantize(latents, log_mel, step == 0, generator)
        timbre = swap_partners(self.codec.decoder.embed_speaker(latents))
        decoded = self.mel_decoder(
            self.codec.decoder.apply_timbre(embedded, timbre).transpose(1, 2)
        )
        decoded = decoded * _MEL_SPREAD + _MEL_MEAN
        absolute, squared = F.l1_loss(decoded, log_mel), F.mse_loss(decoded, log_mel)
        loss = absolute + _SQUARED_ERROR_WEIGHT * squared + _COMMITMENT_WEIGHT * commitment
        take_step(self.optimizer, loss, _TOKENIZER_CLIP)
        return {"mel_l1": absolute.item(), "commitment": commitment.item()}

    def _quantize(
        self,
        latents: torch.Tensor,
        log_mel: torch.Tensor,
        first: bool,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of the three vectors [B, T, C] and the commitment loss; codebooks follow."""
        prosody = self.codec.decoder.encode_prosody(log_mel, latents.shape[1])
        inputs = [prosody, latents, latents]
        vectors: list[torch.Tensor] = []
        losses = []
        for index, (layer, learner) in enumerate(zip(self.layers, self.learners, strict=True)):
            if index == 2:  # the second content codebook takes what the first left
                inputs[2] = latents - vectors[1]
            if first:
                start_codebook(layer, learner, inputs[index], generator)
            vector, loss, directions, codes = quantize_straight_through(layer, inputs[index])
            learner.update(layer, directions, codes, generator)
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


class DecoderPhase:
    """Trains the waveform decoder and `timbre_linear` on the frozen tokenizer's codes.

    What is used is a moving average of the weights: as good as a lowered learning rate, at any
    time that one stops.
    """

    def __init__(
        self, codec: FACodec, pool: AudioPool, config: DecoderPhaseConfig, seed: int
    ) -> None:
        self.codec, self.pool, self.config, self.seed = codec, pool, config, seed
        codec.requires_grad_(False)
        self.tokens = PoolTokens(codec, pool)
        self.trained = copy.deepcopy(
            nn.ModuleDict(
                {name: getattr(codec.decoder, name) for name in ("model", "timbre_linear")}
            )
        ).requires_grad_(True)
        apply_weight_norm(self.trained)
        self.average = copy.deepcopy(self.trained).requires_grad_(False)
        self.loss = SpectralLoss(codec.config.sample_rate_hz)
        self.adversary = Adversary()
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), betas=(0.8, 0.99), weight_decay=1e-3
        )

    def train_step(self, step: int) -> dict[str, float]:
        crop_frames = self.config.crop_frames
        crops = self.pool.draw(self.seed + 1, step, self.config.batch, crop_frames)
        frames = torch.stack(
            [
                self.tokens.frames(index)[first : first + crop_frames]
                for index, first in zip(crops.recordings, crops.first_frames, strict=True)
            ]
        )
        speaker = swap_partners(torch.stack([self.tokens.speaker(i) for i in crops.recordings]))
        decoded = self._decode(frames, speaker)
        recorded = torch.from_numpy(self.pool.cut(crops, crop_frames))
        loss = spectral = self.loss(decoded, recorded)
        begin = self.config.adversary_from
        if begin is not None and step >= begin:
            loss = spectral + self.adversary.oppose(decoded, recorded)
        take_step(self.optimizer, loss, _DECODER_CLIP)
        self._follow(step)
        return {"spectral": spectral.item(), "total": loss.item()}

    def _decode(self, frames: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        decoder = self.codec.decoder
        with torch.no_grad():
            embedded = F.layer_norm(decoder.embed_frames(frames), (speaker.shape[-1],))
        scale, shift = self.trained["timbre_linear"](speaker)[:, None].chunk(2, dim=-1)
        return self.trained["model"]((embedded * scale + shift).transpose(1, 2))[:, 0]

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        decay = min(_AVERAGE_DECAY, (1 + step) / (10 + step))
        averages: list[torch.Tensor] = list(self.average.parameters())
        values: list[torch.Tensor] = list(self.trained.parameters())
        torch._foreach_lerp_(averages, values, 1 - decay)

    def state(self) -> dict[str, Any]:
        return {
            "trained": self.trained.state_dict(),
            "average": self.average.state_dict(),
            "adversary": self.adversary.state(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.trained.load_state_dict(state["trained"])
        self.average.load_state_dict(state["average"])
        self.adversary.load_state(state["adversary"])
        self.optimizer.load_state_dict(state["optimizer"])

    def trained_codec(self) -> FACodec:
        folded = fold_weight_norm(self.average)
        unknown = self.codec.decoder.load_state_dict(folded, strict=False).unexpected_keys
        assert not unknown, "the trained modules have the decoder's names"
        return self.codec


class PoolTokens:
    """Frames and speaker embeddings of a pool's recordings, encoded when first asked for."""

    def __init__(self, codec: FACodec, pool: AudioPool) -> None:
        self._codec, self._pool = codec, pool
        self._encoded: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def frames(self, index: int) -> torch.Tensor:
        """int64 [T, 3], the whole recording encoded at once, as in use."""
        return self._encode(index)[0]

    def speaker(self, index: int) -> torch.Tensor:
        """float32 [C]."""
        return self._encode(index)[1]

    @torch.no_grad()
    def _encode(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index not in self._encoded:
            frames, speaker = self._codec.encode(torch.from_numpy(self._pool.whole(index))[None])
            self._encoded[index] = frames[0], speaker[0]
        return self._encoded[index]


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
    """Let the layers that read log-mels start as if these had mean 0 and spread 1."""
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
    with torch.no_grad():
        directions = F.normalize(layer.in_proj(latents), dim=-1).flatten(0, 1)
    learner.start(layer, directions, generator)


def swap_partners(rows: torch.Tensor) -> torch.Tensor:
    """Exchange rows 2k and 2k + 1: [B, …] -> [B, …]."""
    return rows.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def take_step(optimizer: torch.optim.Optimizer, loss: torch.Tensor, largest_norm: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, largest_norm)
    optimizer.step()


def apply_weight_norm(modules: nn.Module) -> None:
    for module in list(modules.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(module)


def fold_weight_norm(modules: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with plain weights. The modules keep their weight norm: torch cannot take
    it off one of several copies."""
    state = {k: t for k, t in modules.state_dict().items() if ".parametrizations." not in k}
    for name, module in modules.named_modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            state[f"{name}.weight"] = module.weight.detach()
    return state
