"""Optimizers: AdamW for everything, or Muon for the matrices inside the layers and AdamW otherwise.

In: a model and settings. Out: one `torch.optim.Optimizer` and a learning-rate schedule. Muon
(Keller Jordan, 2024) orthogonalises the momentum of each matrix by Newton-Schulz iterations.
`torch.optim.Muon` does it matrix by matrix. Here matrices of one shape are computed together, which
is several times faster on a CPU, and one optimizer also has the parameters for which Muon is not
made: embeddings, heads, biases, norms. bfloat16 is exact enough for the iterations, as in the
reference, because singular values only have to come near 1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from train.language_model_training.settings import OptimizerSettings

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients of the reference
_ITERATIONS = 5
_UPDATE_SCALE = 0.2  # makes updates as large as AdamW's (Moonlight, arXiv 2502.16982)


def make_optimizer(
    model: nn.Module, settings: OptimizerSettings, dtype: torch.dtype = torch.float32
) -> MuonAdamW:
    """Groups: layer matrices, embeddings, everything else. Muon iterates in `dtype`."""
    groups: dict[str, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        groups[_group_of(name, parameter)].append(parameter)
    embedding_rate = settings.embedding_learning_rate or settings.learning_rate
    use_muon = settings.kind == "muon"
    adam = {"muon": False, "betas": (settings.beta1, settings.beta2)}
    layer_group: dict[str, Any] = {
        "params": groups["layers"],
        "lr": settings.muon_learning_rate if use_muon else settings.learning_rate,
        "weight_decay": settings.muon_weight_decay if use_muon else settings.weight_decay,
    }
    layer_group |= {"muon": True, "momentum": settings.momentum} if use_muon else adam
    return MuonAdamW(
        [
            layer_group,
            {"params": groups["embedding"], "lr": embedding_rate, "weight_decay": 0.0, **adam},
            {"params": groups["other"], "lr": settings.learning_rate, "weight_decay": 0.0, **adam},
        ],
        dtype,
    )


def _group_of(name: str, parameter: nn.Parameter) -> str:
    if "embed_tokens" in name:
        return "embedding"
    return "layers" if parameter.ndim == 2 and "layers." in name else "other"


class MuonAdamW(Optimizer):
    """Groups with `muon: True` take Muon's step, the others AdamW's."""

    def __init__(
        self, groups: list[dict[str, Any]], muon_dtype: torch.dtype = torch.float32
    ) -> None:
        self._muon_dtype = muon_dtype
        super().__init__([group for group in groups if group["params"]], {"eps": 1e-8})

    # torch declares `step` in two overloads
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                (self._muon_step if group["muon"] else self._adamw_step)(group, parameters)
        return loss

    def _muon_step(self, group: dict[str, Any], parameters: list[torch.Tensor]) -> None:
        by_shape: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
        for parameter in parameters:
            by_shape[parameter.shape].append(parameter)
        for shape, matrices in by_shape.items():
            momenta = [self._momentum(matrix) for matrix in matrices]
            gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
            updates = orthogonalize(torch.stack(list(nesterov)), self._muon_dtype).unbind()
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            rate = group["lr"] * _UPDATE_SCALE * math.sqrt(max(shape))
            torch._foreach_add_(matrices, list(updates), alpha=-rate)

    def _momentum(self, matrix: torch.Tensor) -> torch.Tensor:
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        return state["momentum"]

    def _adamw_step(self, group: dict[str, Any], parameters: list[torch.Tensor]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                    "step": torch.zeros((), device=parameter.device),
                }
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalize(matrices: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Bring the singular values of matrices (K, R, C) near 1, keeping their directions.

    Computed in `dtype`, returned in the matrices' own type.
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = (x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)).to(dtype)
    for _ in range(_ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


def rate_factor(settings: OptimizerSettings, step: int, progress: float) -> float:
    """Learning-rate factor at `step` (from 0), with `progress` 0 to 1 of the run done."""
    warmup = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    if progress < 1.0 - settings.decay_share or settings.decay_share == 0.0:
        return warmup
    falling = (1.0 - min(progress, 1.0)) / settings.decay_share
    return warmup * max(settings.final_share, falling)
