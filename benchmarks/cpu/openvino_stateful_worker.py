"""Measures OpenVINO on the model that its own tools make of a checkpoint, with the cache inside.

    PYTHON -m benchmarks.cpu.openvino_stateful_worker --write CHECKPOINT FOLDER fp32|int8|int4
    PYTHON -m benchmarks.cpu.openvino_stateful_worker FOLDER THREADS [f32]

In: `qwen2_checkpoint`; then the requests of `bundle_worker`, "step" and "prefill" only. Writing
needs optimum-intel and nncf, measuring openvino and numpy, and `serving` alone of this project. A
step is the backbone's: no speech heads. "f32": see `openvino_worker`.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from benchmarks.cpu.serving import serve

TOKEN = 1
GROUP = 32  # weights with one scale in int4; in int8 an output has one


def write(checkpoint: str, folder: str, precision: str) -> None:
    """Export with the weights in this precision."""
    from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

    settings: dict[str, Any] = {"load_in_8bit": False}
    if precision != "fp32":
        bits = int(precision.removeprefix("int"))
        group = GROUP if bits == 4 else -1
        quantized = OVWeightQuantizationConfig(bits=bits, sym=True, group_size=group, ratio=1.0)
        settings = {"quantization_config": quantized}
    model = OVModelForCausalLM.from_pretrained(checkpoint, export=True, compile=False, **settings)
    model.save_pretrained(folder)


class Worker:
    """A compiled model."""

    def __init__(self, folder: str, threads: int, numbers: str = "") -> None:
        import openvino

        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        if numbers:
            options["INFERENCE_PRECISION_HINT"] = numbers
        path = f"{folder}/openvino_model.xml"
        compiled = openvino.Core().compile_model(path, "CPU", options)
        self._request = compiled.create_infer_request()

    def step(self, context: int, count: int) -> list[float]:
        """One position at a time, after `context` positions."""
        self._request.reset_state()
        self._read(context, 0)
        return [self._read(1, context + number) for number in range(count)]

    def prefill(self, positions: int, count: int) -> list[float]:
        """All positions of a prompt in one call."""
        times = []
        for _ in range(count):
            self._request.reset_state()
            times.append(self._read(positions, 0))
        return times

    def _read(self, positions: int, past: int) -> float:
        inputs = {
            "input_ids": np.full((1, positions), TOKEN),
            "attention_mask": np.ones((1, past + positions), np.int64),
            "position_ids": np.arange(past, past + positions)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        start = time.perf_counter()
        self._request.infer(inputs, share_inputs=True, share_outputs=True)
        return time.perf_counter() - start


def main() -> None:
    """Write a model, or serve until the input ends."""
    if sys.argv[1] == "--write":
        write(*sys.argv[2:])
    else:
        folder, threads, *numbers = sys.argv[1:]
        serve(Worker, folder, int(threads), *numbers)


if __name__ == "__main__":
    main()
