"""Measures llama.cpp on the published size's backbone, in an environment of its own.

    PYTHON -m benchmarks.cpu.llama_worker FILE.gguf THREADS
    PYTHON -m benchmarks.cpu.llama_worker --write FILE.gguf q8_0|q4_0

In: the requests of `bundle_worker`, "step" and "prefill" only. It needs llama-cpp-python, gguf and
numpy, and `serving` alone of this project. Weights are random. The vocabulary is tiny, so that the
product with it costs nothing, and there are no speech heads: a step is the backbone's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.cpu.serving import serve

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS = 896, 4864, 24, 14, 2
HEAD_DIM = HIDDEN // HEADS
VOCABULARY, CONTEXT = 32, 4096


def matrices() -> Iterator[tuple[str, int, int]]:
    """Names and shapes (out, in) of the products of every layer."""
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_q.weight", HIDDEN, HIDDEN
        yield f"blk.{layer}.attn_k.weight", KV_HEADS * HEAD_DIM, HIDDEN
        yield f"blk.{layer}.attn_v.weight", KV_HEADS * HEAD_DIM, HIDDEN
        yield f"blk.{layer}.attn_output.weight", HIDDEN, HIDDEN
        yield f"blk.{layer}.ffn_gate.weight", INNER, HIDDEN
        yield f"blk.{layer}.ffn_up.weight", INNER, HIDDEN
        yield f"blk.{layer}.ffn_down.weight", HIDDEN, INNER


def vectors() -> Iterator[tuple[str, int]]:
    """Names and sizes of norms and biases."""
    yield "output_norm.weight", HIDDEN
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_norm.weight", HIDDEN
        yield f"blk.{layer}.ffn_norm.weight", HIDDEN
        yield f"blk.{layer}.attn_q.bias", HIDDEN
        yield f"blk.{layer}.attn_k.bias", KV_HEADS * HEAD_DIM
        yield f"blk.{layer}.attn_v.bias", KV_HEADS * HEAD_DIM


def write(path: str, precision: str) -> None:
    """A model with random weights in this precision."""
    import gguf
    import numpy as np

    form = gguf.GGMLQuantizationType[precision.upper()]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    random = np.random.default_rng(0)

    def values(*shape: int) -> Any:
        return (0.02 * random.standard_normal(shape, np.float32)).astype(np.float32)

    writer.add_tensor("token_embd.weight", values(VOCABULARY, HIDDEN))
    for name, count in vectors():
        writer.add_tensor(name, np.ones(count, np.float32) if "norm" in name else values(count))
    for name, outputs, inputs in matrices():
        writer.add_tensor(name, gguf.quants.quantize(values(outputs, inputs), form), raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Worker:
    """A loaded model."""

    def __init__(self, path: str, threads: int) -> None:
        import llama_cpp

        self._api = llama_cpp
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)  # thousands of lines otherwise
        llama_cpp.llama_log_set(self._quiet, None)
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), model)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = CONTEXT
        options.n_threads = options.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, options)

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
        tokens = (self._api.llama_token * positions)(*[1] * positions)
        batch = self._api.llama_batch_get_one(tokens, positions)
        start = time.perf_counter()
        failed = self._api.llama_decode(self._context, batch)
        seconds = time.perf_counter() - start
        assert failed == 0, failed
        return seconds

    def _forget(self) -> None:
        self._api.llama_memory_clear(self._api.llama_get_memory(self._context), True)


def main() -> None:
    """Write a model, or serve until the input ends."""
    if sys.argv[1] == "--write":
        write(*sys.argv[2:])
    else:
        path, threads = sys.argv[1:]
        serve(Worker, path, int(threads))


if __name__ == "__main__":
    main()
