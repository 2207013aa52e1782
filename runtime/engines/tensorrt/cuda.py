"""CUDA's streams, events and captured graphs, and the GPU of this machine.

In: nothing but calls. Out: objects that own what they create and free it when they are no longer
referenced. Every call is checked: a failure that a user can mend (no driver, no GPU) is a
`UserError`, any other is a `CudaError` with CUDA's own name for it. Together with
`runtime.engines.tensorrt.memory` these are all the CUDA calls that the runtime makes.

All work is asynchronous: a method that takes a stream only puts work into it. Everything uses the
first GPU that CUDA shows (CUDA_VISIBLE_DEVICES chooses).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cuda.bindings import runtime as cudart

from commands.errors import UserError

DEVICE = 0

_Error = cudart.cudaError_t
_NO_DRIVER = (_Error.cudaErrorInsufficientDriver, _Error.cudaErrorStubLibrary)


class CudaError(RuntimeError):
    """A CUDA call failed in a way that the user cannot mend."""


@dataclass(frozen=True)
class Gpu:
    """name: as the driver gives it. compute_capability: "8.9". memory_bytes: of the whole GPU."""

    name: str
    compute_capability: str
    memory_bytes: int
    driver_cuda: str  # the newest CUDA version that the driver knows, "13.0"


def find_gpu() -> Gpu:
    """Make the GPU ready and describe it.

    Raises:
        UserError: no driver, a driver that is too old, or no GPU.
    """
    try:
        error, *found = cudart.cudaGetDeviceCount()
    except RuntimeError as failure:  # cuda-python 12.6, without libcuda
        raise UserError(
            f"no NVIDIA driver is here ({failure}); install it (in a container: run it with "
            "--gpus all, on a Jetson with --runtime nvidia)"
        ) from None
    if error in _NO_DRIVER:
        needs = _version(checked(cudart.cudaRuntimeGetVersion()))
        raise UserError(
            f"no NVIDIA driver for CUDA {needs} is here (libcuda is missing or too old); "
            "install or update it (in a container: run it with --gpus all, on a Jetson with "
            "--runtime nvidia)"
        )
    if error == _Error.cudaErrorNoDevice or (error == _Error.cudaSuccess and found[0] == 0):
        raise UserError("no NVIDIA GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES")
    _check(error, "looking for a GPU")
    checked(cudart.cudaSetDevice(DEVICE))
    properties = checked(cudart.cudaGetDeviceProperties(DEVICE))
    return Gpu(
        name=properties.name.decode().rstrip("\0"),
        compute_capability=f"{properties.major}.{properties.minor}",
        memory_bytes=int(properties.totalGlobalMem),
        driver_cuda=_version(checked(cudart.cudaDriverGetVersion())),
    )


class Stream:
    """Work that the GPU does in the order in which it is put in."""

    def __init__(self) -> None:
        created = checked(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
        self.handle = int(created)
        free_later(self, cudart.cudaStreamDestroy, self.handle)

    def synchronize(self) -> None:
        """Wait until everything in the stream is done."""
        checked(cudart.cudaStreamSynchronize(self.handle))

    @contextmanager
    def capture(self) -> Iterator[CapturedGraph]:
        """Record the work that is put into the stream inside the block, instead of doing it.

        The graph can be launched once the block is left. Other threads may use CUDA meanwhile.
        """
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(cudart.cudaStreamBeginCapture(self.handle, mode))
        captured = CapturedGraph()
        try:
            yield captured
        except BaseException:
            cudart.cudaStreamEndCapture(self.handle)  # the first error matters
            raise
        captured.instantiate(checked(cudart.cudaStreamEndCapture(self.handle)))


class CapturedGraph:
    """A sequence of GPU work that one call repeats, with the addresses it was captured with."""

    def __init__(self) -> None:
        self._executable: Any = None

    def instantiate(self, graph: Any) -> None:
        self._executable = checked(cudart.cudaGraphInstantiate(graph, 0))
        checked(cudart.cudaGraphDestroy(graph))
        free_later(self, cudart.cudaGraphExecDestroy, self._executable)

    def launch(self, stream: Stream) -> None:
        assert self._executable is not None, "launched before the capture ended"
        checked(cudart.cudaGraphLaunch(self._executable, stream.handle))


class Event:
    """A point in a stream that the host can wait for."""

    def __init__(self) -> None:
        self.handle = checked(cudart.cudaEventCreateWithFlags(cudart.cudaEventDefault))
        free_later(self, cudart.cudaEventDestroy, self.handle)

    def record(self, stream: Stream) -> None:
        checked(cudart.cudaEventRecord(self.handle, stream.handle))

    def synchronize(self) -> None:
        """Wait for the work before it; at once if the event was never recorded."""
        checked(cudart.cudaEventSynchronize(self.handle))

    def is_done(self) -> bool:
        (error,) = cudart.cudaEventQuery(self.handle)
        if error == _Error.cudaErrorNotReady:
            return False
        _check(error, "cudaEventQuery")
        return True

    def seconds_since(self, start: Event) -> float:
        """GPU time between two events that are done."""
        return 1e-3 * float(checked(cudart.cudaEventElapsedTime(start.handle, self.handle)))


def checked(result: tuple[Any, ...]) -> Any:
    """The value of a call that returned (error, value); several values stay a tuple."""
    error, *values = result
    _check(error, "a CUDA call")
    return values[0] if len(values) == 1 else tuple(values)


def _check(error: Any, doing: str) -> None:
    if error != _Error.cudaSuccess:
        raise CudaError(f"{doing} failed: {_error_name(error)}")


def _error_name(error: Any) -> str:
    _, name = cudart.cudaGetErrorName(error)
    _, text = cudart.cudaGetErrorString(error)
    return f"{name.decode()} ({text.decode()})"


def free_later(owner: object, free: Callable[[Any], Any], handle: Any) -> None:
    """Free with the owner; at the end of the process the driver does it."""
    weakref.finalize(owner, free, handle).atexit = False


def _version(number: int) -> str:
    """13000 -> "13.0"."""
    return f"{number // 1000}.{number % 1000 // 10}"
