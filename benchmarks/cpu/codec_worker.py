"""Measures a codec's decoder on general engines: PyTorch, and a graph of torch.onnx on two others.

    python -m benchmarks.cpu.codec_worker torch CODEC_DIR THREADS
    PYTHON -m benchmarks.cpu.codec_worker onnxruntime|openvino GRAPH THREADS
    python -m benchmarks.cpu.codec_worker --write CODEC_DIR GRAPH

In: the request "codec" of `bundle_worker` for whole utterances: these decoders keep no state, so
in chunks they would calculate again what lies around each one. Out: seconds for each second of
audio, in float32. With a graph, it needs numpy and the engine, and `serving` alone of this project.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu.serving import serve

FRAMES_PER_SECOND, STREAMS, CODES, SPEAKER_CHANNELS = 80, 3, 1024, 256
MAX_FRAMES = 4096

Decode = Callable[[Any, Any], Any]


def load_module(folder: str) -> Any:
    """The decoder of `train`, as a module that takes frames and a speaker."""
    import torch

    from train.codec_model.checkpoint import load_codec

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codec = load_codec(Path(folder))

        def forward(self, frames: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
            return self.codec.decode(frames, speaker)

    return Decoder().eval()


def write(folder: str, graph: str) -> None:
    """The same module as a graph for utterances of any length, by torch.onnx."""
    import torch

    torch.onnx.export(
        load_module(folder),
        (torch.zeros((1, 160, STREAMS), dtype=torch.int64), torch.zeros((1, SPEAKER_CHANNELS))),
        graph,
        dynamo=True,
        input_names=["frames", "speaker"],
        output_names=["audio"],
        dynamic_shapes={
            "frames": {1: torch.export.Dim("length", min=2, max=MAX_FRAMES)},
            "speaker": None,
        },
    )


def open_torch(folder: str, threads: int) -> Decode:
    """PyTorch eager."""
    import torch

    torch.set_num_threads(threads)
    module = load_module(folder)

    @torch.inference_mode()
    def decode(frames: Any, speaker: Any) -> Any:
        return module(torch.from_numpy(frames), torch.from_numpy(speaker))

    return decode


def open_onnxruntime(graph: str, threads: int) -> Decode:
    """The graph on ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda frames, speaker: session.run(None, {"frames": frames, "speaker": speaker})[0]


def open_openvino(graph: str, threads: int) -> Decode:
    """The graph on OpenVINO, in float32 even where the processor has bfloat16."""
    import openvino

    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(graph, "CPU", options).create_infer_request()
    return lambda frames, speaker: request.infer({"frames": frames, "speaker": speaker})["audio"]


ENGINES = {"torch": open_torch, "onnxruntime": open_onnxruntime, "openvino": open_openvino}


class Worker:
    """A loaded decoder."""

    def __init__(self, engine: str, source: str, threads: int) -> None:
        self._decode = ENGINES[engine](source, threads)
        self._random = np.random.default_rng(0)

    def codec(self, seconds: float, chunk: int, count: int) -> list[float]:
        """Seconds for each second of audio; `chunk` has to be 0, the whole at once."""
        assert chunk == 0, "these decoders keep no state"
        frames = round(seconds * FRAMES_PER_SECOND)
        codes = self._random.integers(0, CODES, (1, frames, STREAMS))
        speaker = self._random.standard_normal((1, SPEAKER_CHANNELS), np.float32)
        times = []
        for _ in range(count):
            start = time.perf_counter()
            self._decode(codes, speaker)
            times.append((time.perf_counter() - start) / seconds)
        return times


def main() -> None:
    """Write a graph, or serve until the input ends."""
    first, source, last = sys.argv[1:]
    if first == "--write":
        write(source, last)
    else:
        serve(Worker, first, source, int(last))


if __name__ == "__main__":
    main()
