"""Muon's step, the learning-rate schedule, and the weight average."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from train.language_model_training.averaging import WeightAverage
from train.language_model_training.optimizer import make_optimizer, orthogonalize, rate_factor
from train.language_model_training.settings import OptimizerSettings


class TwoLayers(nn.Module):
    """Names as in a backbone: an embedding, matrices inside `layers.`, and others."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(7, 12)
        self.layers = nn.ModuleList([nn.Linear(12, 20), nn.Linear(20, 12)])
        self.norm = nn.LayerNorm(12)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed_tokens(ids)
        return self.norm(self.layers[1](torch.tanh(self.layers[0](x))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 12, 20), (2, 20, 12), (1, 8, 8)])
def test_orthogonalized_matrices_have_singular_values_near_one(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    singular = torch.linalg.svdvals(orthogonalize(matrices, dtype))
    assert singular.max() < 1.3
    assert singular.median() > 0.6
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    cosine = nn.functional.cosine_similarity(
        orthogonalize(matrices, dtype).flatten(), (u @ vh).flatten(), dim=0
    )
    assert cosine > 0.95


def test_muon_step_size_and_weight_decay() -> None:
    torch.manual_seed(0)
    model = TwoLayers()
    settings = OptimizerSettings(kind="muon", muon_learning_rate=0.01, muon_weight_decay=0.1)
    optimizer = make_optimizer(model, settings)
    first = model.layers[0]
    assert isinstance(first, nn.Linear)
    before = first.weight.detach().clone()
    model(torch.arange(7)).square().sum().backward()
    gradient = first.weight.grad
    assert gradient is not None
    expected = orthogonalize(gradient[None] * (0.05 * 0.95 + 0.05))[0]
    optimizer.step()
    moved = before * (1 - 0.01 * 0.1) - 0.01 * 0.2 * math.sqrt(20) * expected
    torch.testing.assert_close(first.weight.detach(), moved, rtol=1e-4, atol=1e-6)


def test_other_parameters_take_adamw_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = TwoLayers(), TwoLayers()
    theirs.load_state_dict(ours.state_dict())
    settings = OptimizerSettings(kind="adamw", learning_rate=0.01, beta2=0.9)
    one = make_optimizer(ours, settings)
    two = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.9), weight_decay=0.0)
    for _ in range(3):
        for model, optimizer in ((ours, one), (theirs, two)):
            optimizer.zero_grad()
            model(torch.arange(7)).sin().sum().backward()
            optimizer.step()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name])


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizer_state_continues_exactly(kind: Literal["adamw", "muon"]) -> None:
    torch.manual_seed(0)
    settings = OptimizerSettings(kind=kind)
    model = TwoLayers()
    optimizer = make_optimizer(model, settings)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.arange(7)).sin().sum().backward()
        optimizer.step()

    step(model, optimizer)
    twin = TwoLayers()
    twin.load_state_dict(model.state_dict())
    resumed = make_optimizer(twin, settings)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer)
    step(twin, resumed)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, twin.state_dict()[name])


def test_rate_rises_stays_and_falls() -> None:
    settings = OptimizerSettings(warmup_steps=10, decay_share=0.5, final_share=0.1)
    assert rate_factor(settings, 0, 0.0) == pytest.approx(0.1)
    assert rate_factor(settings, 9, 0.1) == 1.0
    assert rate_factor(settings, 40, 0.49) == 1.0
    assert rate_factor(settings, 75, 0.75) == pytest.approx(0.5)
    assert rate_factor(settings, 100, 1.0) == pytest.approx(0.1)
    constant = OptimizerSettings(warmup_steps=0, decay_share=0.0)
    assert rate_factor(constant, 99, 1.0) == 1.0


def test_average_is_swapped_in_and_out(tmp_path: Path) -> None:
    model = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
    average.update(3)  # between updates
    with average.applied():
        assert (model.weight == 1.0).all()
    average.update(4)
    expected = 3.0 - 2.0 * min(0.5, 5 / 14) ** 4
    with average.applied():
        torch.testing.assert_close(model.weight.detach(), torch.full((2, 3), expected))
    assert (model.weight == 3.0).all()
    average.save(tmp_path)
    other = WeightAverage(model, 0.5)
    other.load(tmp_path)
    with other.applied():
        torch.testing.assert_close(model.weight.detach(), torch.full((2, 3), expected))
