"""Measures PyTorch eager on a checkpoint: the published way of decoding.

    python -m benchmarks.cpu.torch_worker MODEL_DIR THREADS

In: the requests of `bundle_worker`, "step" and "prefill" only. Out: seconds, in float32, with
heads.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.cpu.serving import serve
from train.language_model.checkpoint import load_checkpoint


class Worker:
    """A loaded checkpoint."""

    def __init__(self, folder: str, threads: int) -> None:
        torch.set_num_threads(threads)
        loaded = load_checkpoint(Path(folder))
        self._model: Any = loaded.model.eval()
        self._width = loaded.config.hidden_size

    def step(self, context: int, count: int) -> list[float]:
        """One position at a time, after `context` positions."""
        cache, _ = self._read(context, None)
        times = []
        for _ in range(count):
            cache, seconds = self._read(1, cache)
            times.append(seconds)
        return times

    def prefill(self, positions: int, count: int) -> list[float]:
        """All positions of a prompt in one call."""
        return [self._read(positions, None)[1] for _ in range(count)]

    @torch.inference_mode()
    def _read(self, positions: int, cache: Any) -> tuple[Any, float]:
        embeddings = torch.full((1, positions, self._width), 0.01)
        start = time.perf_counter()
        found = self._model.lm_model.model(
            inputs_embeds=embeddings, past_key_values=cache, use_cache=True
        )
        hidden = found.last_hidden_state[:, -1:]
        for head in self._model.heads:
            head(hidden, None)  # linear heads need no rotation
        return found.past_key_values, time.perf_counter() - start


def main() -> None:
    """Serve until the input ends."""
    folder, threads = sys.argv[1:]
    serve(Worker, folder, int(threads))


if __name__ == "__main__":
    main()
