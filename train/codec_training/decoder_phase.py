"""Second phase of training a codec: the waveform decoder.

The tokenizer is frozen, so tokens stay valid however long the decoder is trained. In: a codec with
a trained tokenizer and a pool of audio. Files of train.predict may be added: then the decoder also
learns from tokens that language models predict, which it will hear at run time.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from train.codec_model.facodec import FACodec
from train.codec_training.adversary import Adversary
from train.codec_training.audio_pool import AudioPool
from train.codec_training.config import DecoderPhaseConfig
from train.codec_training.losses import SpectralLoss
from train.codec_training.phase import Computing, swap_partners, take_step
from train.codec_training.pool_tokens import PoolTokens

_LARGEST_GRADIENT = 2.0
_AVERAGE_DECAY = 0.999


class DecoderPhase:
    """Trains the waveform decoder and `timbre_linear` on the frozen tokenizer's codes.

    The codec gets a moving average of the trained weights. At any step, it is as good as the
    weights after a fall of the learning rate.
    """

    def __init__(
        self,
        codec: FACodec,
        pool: AudioPool,
        config: DecoderPhaseConfig,
        seed: int,
        computing: Computing | None = None,
    ) -> None:
        self.codec, self.pool, self.config, self.seed = codec, pool, config, seed
        self.computing = computing or Computing()
        self.device = next(codec.parameters()).device
        codec.requires_grad_(False)
        self.tokens = PoolTokens(codec, pool, config.predicted, config.predicted_share)
        self.trained = copy.deepcopy(
            nn.ModuleDict(
                {name: getattr(codec.decoder, name) for name in ("model", "timbre_linear")}
            )
        ).requires_grad_(True)
        apply_weight_norm(self.trained)
        self.average = copy.deepcopy(self.trained).requires_grad_(False)
        self.stack = self.computing.compiled(self.trained["model"])
        self.loss = SpectralLoss(codec.config.sample_rate_hz).to(self.device)
        self.adversary = Adversary(self.device)
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), betas=(0.8, 0.99), weight_decay=1e-3
        )

    def train_step(self, step: int) -> dict[str, float]:
        crop_frames = self.config.crop_frames
        crops = self.pool.draw(self.seed + 1, step, self.config.batch, crop_frames)
        frames = self.tokens.cut(crops, crop_frames, seed=step)
        speaker = swap_partners(self.tokens.speakers(crops))
        decoded = self._decode(frames, speaker)
        recorded = torch.from_numpy(self.pool.cut(crops, crop_frames)).to(self.device)
        loss = spectral = self.loss(decoded, recorded)
        begin = self.config.adversary_from
        if begin is not None and step >= begin:
            with self.computing.mixed(self.device):
                loss = spectral + self.adversary.oppose(decoded, recorded)
        take_step(self.optimizer, loss, _LARGEST_GRADIENT)
        self._update_average(step)
        return {"spectral": spectral.item(), "total": loss.item()}

    def _decode(self, frames: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        decoder = self.codec.decoder
        with torch.no_grad():
            embedded = F.layer_norm(decoder.embed_frames(frames), (speaker.shape[-1],))
        scale, shift = self.trained["timbre_linear"](speaker)[:, None].chunk(2, dim=-1)
        with self.computing.mixed(self.device):
            return self.stack((embedded * scale + shift).transpose(1, 2))[:, 0].float()

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
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


def apply_weight_norm(modules: nn.Module) -> None:
    for module in list(modules.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(module)


def fold_weight_norm(modules: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with plain weights. The modules keep their weight norm, because torch cannot
    remove it from one of several copies."""
    state = {k: t for k, t in modules.state_dict().items() if ".parametrizations." not in k}
    for name, module in modules.named_modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            state[f"{name}.weight"] = module.weight.detach()
    return state
