"""How many threads PyTorch has during a comparison, and that they are given back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from export.checks import check
from export.checks.torch_threads import LARGE_WEIGHTS_BYTES, fitting_threads, is_small
from export.readers.checkpoint import open_checkpoint
from export.readers.codec_checkpoint import open_codec
from export.sources import DEMO_VOICE
from formats.safetensors_reader import StoredTensor
from runtime.engines.onnxruntime import threads

BEFORE = 3


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(BEFORE)
    yield
    torch.set_num_threads(usual)


def tensors(weights: int) -> Mapping[str, StoredTensor]:
    """Two tensors of `weights` in all; nothing is stored."""
    shapes = ((weights - 6,), (2, 3))
    return {
        str(shape): StoredTensor("weight", np.dtype("<f2"), shape, "model", lambda: np.zeros(0))
        for shape in shapes
    }


@pytest.mark.parametrize(("weights", "given"), [(2**24 - 1, 1), (2**24, BEFORE)])
def test_small_models_have_one_thread(weights: int, given: int) -> None:
    with fitting_threads(tensors(weights)):
        assert torch.get_num_threads() == given
    assert torch.get_num_threads() == BEFORE


def test_threads_are_given_back_after_a_failure() -> None:
    with pytest.raises(KeyboardInterrupt), fitting_threads(tensors(10)):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == BEFORE


def test_the_limit_is_the_runtimes() -> None:
    assert LARGE_WEIGHTS_BYTES == threads.LARGE_WEIGHTS_BYTES


@pytest.mark.parametrize("heads", [3, 6, 12])
def test_the_demo_voice_is_small(heads: int) -> None:
    assert is_small(open_checkpoint(DEMO_VOICE / f"{heads}-heads").tensors)
    assert is_small(open_codec(DEMO_VOICE / "codec").tensors)


def test_both_of_a_comparisons_computations_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def compute(*_: Any) -> list[Any]:
        counted.append(torch.get_num_threads())
        return []

    monkeypatch.setattr(check, "run_pytorch", compute)
    monkeypatch.setattr(check, "check_codec_parity", compute)
    small: Any = SimpleNamespace(tensors=tensors(10), folder=Path("model"))
    large: Any = SimpleNamespace(tensors=tensors(2**24), folder=Path("codec"))
    steps = check.comparison_steps(Path("engine"), {}, small, large)
    steps["compute in PyTorch"]()
    steps["compare codec"]()
    assert counted == [1, BEFORE]
    assert torch.get_num_threads() == BEFORE
