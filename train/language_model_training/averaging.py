"""A moving average of a model's weights, which speaks better than the last weights.

In: a model that is being trained. Out: averaged weights, swapped in for evaluation and saving. The
average is updated every fourth step, with the fourth power of the decay, which costs less than
every step and gives nearly the same. Early in the training it follows the weights faster.
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
from formats.files.folders import FolderKind, publish_folder, unpublished_folder
from train.language_model.checkpoint import WEIGHTS_FILE

AVERAGE_FILE = "average.safetensors"
CHECKPOINT = FolderKind("checkpoint")
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
        """Begin again with the present weights."""
        for name, parameter in self._parameters.items():
            self._average[name].copy_(parameter)

    def load(self, folder: Path) -> None:
        """Continue from a training checkpoint."""
        stored = load_file(folder / AVERAGE_FILE)
        for name, tensor in self._average.items():
            tensor.copy_(stored[name])


def write_averaged_checkpoint(checkpoint: Path, target: Path) -> None:
    """Copy the model of a training checkpoint to `target`, a new folder, whole or not at all.

    The averaged weights take the place of the last ones if there are any.
    """
    tensors = load_file(checkpoint / WEIGHTS_FILE)
    if (checkpoint / AVERAGE_FILE).is_file():
        tensors |= load_file(checkpoint / AVERAGE_FILE)
    with unpublished_folder(target, CHECKPOINT) as folder:
        for file in checkpoint.glob("*.json"):  # configuration and tokenizer
            shutil.copy(file, folder)
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        publish_folder(folder, target, CHECKPOINT)
