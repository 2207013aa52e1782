"""Measures OpenVINO on a bundle's own backbone, in an environment of its own.

    PYTHON -m benchmarks.cpu.openvino_worker backbone.onnx THREADS [f32]

In: a graph of the ort dialect, whose weights in few bits OpenVINO reads as they are, and the
requests of `bundle_worker`, "step" and "prefill" only. It needs openvino and numpy, and `serving`
alone of this project. Caches go in and out of each call. A step is the backbone's: no heads.
"f32" calculates in float32; OpenVINO by itself takes bfloat16 where the processor has it, whatever
the graph says.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import numpy as np

from benchmarks.cpu.serving import serve

CACHE = re.compile(r"past_(key|value)_\d+")


class Worker:
    """A compiled model."""

    def __init__(self, path: str, threads: int, numbers: str = "") -> None:
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        self._width = model.input("inputs_embeds").partial_shape[2].get_length()
        self._caches = [
            port.get_any_name() for port in model.inputs if CACHE.fullmatch(port.get_any_name())
        ]
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        if numbers:
            options["INFERENCE_PRECISION_HINT"] = numbers
        self._request = core.compile_model(model, "CPU", options).create_infer_request()

    def step(self, context: int, count: int) -> list[float]:
        """One position at a time, after `context` positions."""
        self._forget(context + count)
        self._read(context, 0)
        return [self._read(1, context + number) for number in range(count)]

    def prefill(self, positions: int, count: int) -> list[float]:
        """All positions of a prompt in one call."""
        self._forget(positions)
        return [self._read(positions, 0) for _ in range(count)]

    def _forget(self, capacity: int) -> None:
        self._buffers = {name: np.zeros((1, 2, capacity, 64), np.float32) for name in self._caches}

    def _read(self, positions: int, past: int) -> float:
        inputs: dict[str, Any] = {
            "inputs_embeds": np.full((1, positions, self._width), 0.01, np.float32),
            "past_length": np.array([past], np.int64),
            **self._buffers,
        }
        start = time.perf_counter()
        results = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        seconds = time.perf_counter() - start
        for name in self._caches:
            self._buffers[name] = np.array(results[name.replace("past", "present")])
        return seconds


def main() -> None:
    """Serve until the input ends."""
    path, threads, *numbers = sys.argv[1:]
    serve(Worker, path, int(threads), *numbers)


if __name__ == "__main__":
    main()
