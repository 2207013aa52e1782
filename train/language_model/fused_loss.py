"""Linear layer and cross-entropy in one, without keeping the scores.

In: features (S, H), weight (V, H), bias, labels (S). Out: mean loss and number of right
answers. Scores and their gradient live only for a block of rows, so a vocabulary of 155,000
or twelve heads cost little memory, and on a CPU the block stays in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

_BLOCK_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}  # scores held at once


def linear_cross_entropy(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy of `labels` under `features @ weight.T + bias`, and the right answers.

    All labels count. Without rows the loss is 0, and the graph stays connected.
    """
    if labels.numel() == 0:
        bias_sum = bias.sum() if bias is not None else 0.0
        return 0.0 * (features.sum() + weight.sum() + bias_sum), labels.new_zeros(())
    loss, correct = _LinearCrossEntropy.apply(features, weight, bias, labels)
    return loss, correct


class _LinearCrossEntropy(torch.autograd.Function):
    """`forward` has the scores and computes the gradients from them; `backward` only scales
    them."""

    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        grads = [
            torch.zeros_like(tensor, dtype=torch.float32) if tensor is not None and needed else None
            for tensor, needed in zip((features, weight, bias), ctx.needs_input_grad, strict=False)
        ]
        loss = features.new_zeros((), dtype=torch.float32)
        correct = labels.new_zeros(())
        rows = max(1, _BLOCK_ELEMENTS.get(features.device.type, 2**24) // weight.shape[0])
        for begin in range(0, labels.shape[0], rows):
            block = slice(begin, begin + rows)
            scores = F.linear(features[block], weight, bias).float()
            correct += (scores.argmax(1) == labels[block]).sum()
            loss += _scores_to_gradient(scores, labels[block])
            scores /= labels.shape[0]
            _accumulate(grads, scores, features[block], weight, block)
        inputs = (features, weight, bias)
        ctx.save_for_backward(
            *(
                None if grad is None or tensor is None else grad.to(tensor.dtype)
                for grad, tensor in zip(grads, inputs, strict=True)
            )
        )
        ctx.mark_non_differentiable(correct)
        return loss / labels.shape[0], correct

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scale = outputs[0]
        return (*(None if g is None else g * scale for g in ctx.saved_tensors), None)


def _scores_to_gradient(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Turn scores into softmax minus one-hot in place; return the summed cross-entropy."""
    rows = torch.arange(labels.shape[0], device=labels.device)
    highest = scores.amax(1, keepdim=True)
    chosen = scores[rows, labels] - highest[:, 0]
    scores.sub_(highest).exp_()
    total = scores.sum(1, keepdim=True)
    scores.div_(total)
    scores[rows, labels] -= 1.0
    return (total.log()[:, 0] - chosen).sum()


def _accumulate(
    grads: list[torch.Tensor | None],
    scores: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
    block: slice,
) -> None:
    by_features, by_weight, by_bias = grads
    if by_features is not None:
        by_features[block] = scores.to(weight.dtype) @ weight
    if by_weight is not None:
        by_weight += scores.to(features.dtype).t() @ features
    if by_bias is not None:
        by_bias += scores.sum(0)
