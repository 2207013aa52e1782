"""Measures Optimum's export of a checkpoint, and decodes with it, in an environment of its own.

    PYTHON -m benchmarks.cpu.optimum_worker --write CHECKPOINT FOLDER
    PYTHON -m benchmarks.cpu.optimum_worker FOLDER THREADS
    PYTHON -m benchmarks.cpu.optimum_worker --decode CHECKPOINT REQUEST.json

In: a checkpoint in Hugging Face's layout. Out: the folder of `ORTModelForCausalLM`; seconds, for
the requests of `bundle_worker`, "step" and "prefill" only; or the tokens that it writes greedily:
`{"prompts": [[id, …], …], "allowed": [[id, …], …], "end": id, "steps": N}` -> one list of ids for
each prompt. Step s may only write the ids of `allowed[s mod its length]`.
It needs optimum-onnx, PyTorch and ONNX Runtime, and `serving` alone of this project.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu.serving import serve

TOKEN = 1


def write(checkpoint: str, folder: str) -> None:
    """Export in float32, with a cache as inputs and outputs."""
    from optimum.exporters.onnx import main_export

    main_export(checkpoint, folder, task="text-generation-with-past", dtype="fp32")


def decode(model: Any, request: Mapping[str, Any]) -> list[list[int]]:
    """The ids that the model writes greedily after each prompt."""
    import torch

    allowed: list[list[int]] = request["allowed"]

    def write_after(prompt: Sequence[int]) -> list[int]:
        def choose(_row: int, ids: Sequence[int]) -> list[int]:
            return allowed[(len(ids) - len(prompt)) % len(allowed)]

        ids = model.generate(
            torch.tensor([prompt]),
            do_sample=False,
            max_new_tokens=request["steps"],
            prefix_allowed_tokens_fn=choose,
            eos_token_id=request["end"],
            pad_token_id=request["end"],
        )
        written: list[int] = ids[0, len(prompt) :].tolist()
        return written

    return [write_after(prompt) for prompt in request["prompts"]]


class Worker:
    """A loaded export."""

    def __init__(self, folder: str, threads: int) -> None:
        import torch
        from onnxruntime import SessionOptions
        from optimum.onnxruntime import ORTModelForCausalLM

        self._torch = torch
        options = SessionOptions()
        options.intra_op_num_threads = threads
        self._model = ORTModelForCausalLM.from_pretrained(folder, session_options=options)

    def step(self, context: int, count: int) -> list[float]:
        """One position at a time, after `context` positions."""
        cache, _ = self._read(context, 0, None)
        times = []
        for number in range(count):
            cache, seconds = self._read(1, context + number, cache)
            times.append(seconds)
        return times

    def prefill(self, positions: int, count: int) -> list[float]:
        """All positions of a prompt in one call."""
        return [self._read(positions, 0, None)[1] for _ in range(count)]

    def _read(self, positions: int, past: int, cache: Any) -> tuple[Any, float]:
        torch = self._torch
        ids = torch.full((1, positions), TOKEN)
        mask = torch.ones((1, past + positions), dtype=torch.int64)
        start = time.perf_counter()
        found = self._model(input_ids=ids, attention_mask=mask, past_key_values=cache)
        return found.past_key_values, time.perf_counter() - start


def main() -> None:
    """Export, decode, or serve until the input ends."""
    first, second, *rest = sys.argv[1:]
    if first == "--write":
        write(second, *rest)
    elif first == "--decode":
        from optimum.onnxruntime import ORTModelForCausalLM

        request = json.loads(Path(*rest).read_text(encoding="utf-8"))
        model = ORTModelForCausalLM.from_pretrained(second, export=True)
        print(json.dumps(decode(model, request)))
    else:
        serve(Worker, first, int(second))


if __name__ == "__main__":
    main()
