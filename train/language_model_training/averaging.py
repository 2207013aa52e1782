"""A moving average of a model's weights, which speaks better than the last weights do.

In: a model that is being trained. Out: averaged weights, swapped in for evaluation and saving.
Updated every few steps with the decay raised accordingly, which costs less and is nearly the
same. Early on the average follows faster, as few steps have been seen.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from formats.files.atomic import replacing
from train.language_model.checkpoint import WEIGHTS_FILE

AVERAGE_FILE = "average.safetensors"
_STEPS_PER_UPDATE = 4


class WeightAverage:
    """Exponential moving average with `decay` per training step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = dict(model.named_parameters())
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Call after training step `step` (counted from 1)."""
        if step % _STEPS_PER_UPDATE:
            return
        decay = min(self._decay, (1 + step) / (10 + step)) ** _STEPS_PER_UPDATE
        torch._foreach_lerp_(
            list(self._average.values()), list(self._parameters.values()), 1 - decay
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self._average[name])
            self._average[name] = kept

    def save(self, folder: Path) -> None:
        """Write the average beside a training checkpoint."""
        average = {name: tensor.contiguous() for name, tensor in self._average.items()}
        with replacing(folder / AVERAGE_FILE) as partial:
            save_file(average, partial)

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again with the weights as they are now."""
        for name, parameter in self._parameters.items():
            self._average[name].copy_(parameter)

    def load(self, folder: Path) -> None:
        """Continue from a training checkpoint."""
        stored = load_file(folder / AVERAGE_FILE)
        for name, tensor in self._average.items():
            tensor.copy_(stored[name])


def write_averaged_checkpoint(checkpoint: Path, target: Path) -> None:
    """Copy a training checkpoint's model to `target`, a new folder, with its averaged weights in
    place of its last ones if it has them."""
    tensors = load_file(checkpoint / WEIGHTS_FILE)
    if (checkpoint / AVERAGE_FILE).is_file():
        tensors |= load_file(checkpoint / AVERAGE_FILE)
    target.mkdir()
    for file in checkpoint.glob("*.json"):  # configuration and tokenizer
        shutil.copy(file, target)
    with replacing(target / WEIGHTS_FILE) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})
