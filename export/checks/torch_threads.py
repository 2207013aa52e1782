"""PyTorch's threads during a comparison.

In: the tensors of a checkpoint. Out: a context in which small models have one thread, as in the
runtime (runtime/engines/onnxruntime/threads.py). PyTorch's threads wait for each other at every
operation, which takes minutes beside other work. torch is imported when the context is entered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from formats.safetensors_reader import StoredTensor
from runtime.engines.onnxruntime.threads import LARGE_WEIGHTS_BYTES

BYTES_PER_WEIGHT = 4  # PyTorch computes in float32


@contextmanager
def fitting_threads(tensors: Mapping[str, StoredTensor]) -> Iterator[None]:
    """One thread for a small model, otherwise PyTorch's own number, which comes back at the end."""
    import torch

    before = torch.get_num_threads()
    if is_small(tensors):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_small(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether all weights in float32 are too small for threads to pay."""
    weights = sum(math.prod(tensor.shape) for tensor in tensors.values())
    return weights * BYTES_PER_WEIGHT < LARGE_WEIGHTS_BYTES
