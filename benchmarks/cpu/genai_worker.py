"""Measures onnxruntime-genai on the published size's backbone, in an environment of its own.

    PYTHON -m benchmarks.cpu.genai_worker FOLDER THREADS

In: a folder that onnxruntime-genai's own builder made of `qwen2_checkpoint`, and the requests of
`bundle_worker`, "step" and "prefill" only. It needs onnxruntime-genai and numpy, and `serving`
alone of this project. Caches stay inside the library. A step is the backbone's: no speech heads.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks.cpu.serving import serve

TOKEN = 1
CONTEXT = 4096


class Worker:
    """A loaded model, and the text that it has read so far."""

    def __init__(self, folder: str, threads: int) -> None:
        import onnxruntime_genai

        self._api = onnxruntime_genai
        config = onnxruntime_genai.Config(folder)
        options = {"intra_op_num_threads": threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self._model = onnxruntime_genai.Model(config)
        self._generator: Any = None

    def step(self, context: int, count: int) -> list[float]:
        """One position at a time, after `context` positions."""
        self._forget()
        self._read(context)
        return [self._read(1) for _ in range(count)]

    def prefill(self, positions: int, count: int) -> list[float]:
        """All positions of a prompt in one call."""
        times = []
        for _ in range(count):
            self._forget()
            times.append(self._read(positions))
        return times

    def _read(self, positions: int) -> float:
        start = time.perf_counter()
        self._generator.append_tokens([TOKEN] * positions)
        self._generator.get_logits()  # waits for them
        return time.perf_counter() - start

    def _forget(self) -> None:
        parameters = self._api.GeneratorParams(self._model)
        parameters.set_search_options(max_length=CONTEXT)
        self._generator = self._api.Generator(self._model, parameters)


def main() -> None:
    """Serve until the input ends."""
    folder, threads = sys.argv[1:]
    serve(Worker, folder, int(threads))


if __name__ == "__main__":
    main()
