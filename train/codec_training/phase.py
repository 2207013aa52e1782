"""What the two phases of training a codec have in common.

Each crop takes the speaker embedding of another recording of its speaker, as at run time. So the
codes need not carry the timbre, and the embedding cannot carry content. Phases do not know files,
time limits or learning-rate schedules; phase_run.py has the loop over their steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn

from train.codec_model.facodec import FACodec
from train.device import mixed_precision


@dataclass(frozen=True)
class Computing:
    """The number format of a phase's products (train/device.py), and whether kernels are fused."""

    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    compile: bool = False

    def mixed(self, device: torch.device) -> torch.autocast:
        """A context in the chosen format, for everything except quantizers and losses."""
        return mixed_precision(self.precision, device.type)

    def compiled(self, module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """The module, in fused kernels if `compile` is set. Its parameters stay the same."""
        return torch.compile(module) if self.compile else module


class Phase(Protocol):
    """What the training loop uses of a phase."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer. The training loop sets its learning rate."""

    def train_step(self, step: int) -> dict[str, float]:
        """One optimizer step; returns named losses."""

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs besides the codec and the step."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""

    def trained_codec(self) -> FACodec:
        """The codec with what has been learned so far."""


def swap_partners(rows: torch.Tensor) -> torch.Tensor:
    """Exchange rows 2k and 2k + 1: [B, …] -> [B, …]."""
    return rows.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def take_step(optimizer: torch.optim.Optimizer, loss: torch.Tensor, largest_norm: float) -> None:
    """One step down the gradient of `loss`, clipped to `largest_norm`."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, largest_norm)
    optimizer.step()
