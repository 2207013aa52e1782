"""The CUDA calls that the runtime makes: memory, streams, events and captured graphs. Nothing else.

In: sizes and addresses. Out: objects that own what they allocate and free it when they are no
longer referenced. Every call is checked: what a user can mend (no driver, no GPU, no memory left)
is a `UserError`, anything else is a `CudaError` with CUDA's own name for it. It knows neither
TensorRT nor what the memory holds.

All work is asynchronous: a method that takes a stream only puts work into it. Host memory that
such work reads or writes is page-locked (`PinnedArray`) and may be touched again only after an
event that was recorded behind the work. Everything uses the first GPU that CUDA shows
(CUDA_VISIBLE_DEVICES chooses).
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import DTypeLike, NDArray

from commands.errors import UserError

DEVICE = 0
ALIGNMENT = 256  # bytes; TensorRT wants it of every tensor
MIB = 1024 * 1024

_Error = cudart.cudaError_t
_Copy = cudart.cudaMemcpyKind
_NO_DRIVER = (_Error.cudaErrorInsufficientDriver, _Error.cudaErrorStubLibrary)


class CudaError(RuntimeError):
    """A CUDA call failed in a way that no user can mend."""


@dataclass(frozen=True)
class Gpu:
    """name: as the driver gives it. compute_capability: "8.9". memory_bytes: of the whole GPU."""

    name: str
    compute_capability: str
    memory_bytes: int
    driver_cuda: str  # the newest CUDA version that the driver knows, "13.0"


def find_gpu() -> Gpu:
    """Make the GPU ready and say what it is.

    Raises:
        UserError: no driver, a driver that is too old, or no GPU.
    """
    error, *found = cudart.cudaGetDeviceCount()
    if error in _NO_DRIVER:
        needs = _version(_checked(cudart.cudaRuntimeGetVersion()))
        raise UserError(
            f"no NVIDIA driver for CUDA {needs} is here (libcuda is missing or too old); "
            "install or update it (in a container: run it with --gpus all)"
        )
    if error == _Error.cudaErrorNoDevice or (error == _Error.cudaSuccess and found[0] == 0):
        raise UserError("no NVIDIA GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES")
    _check(error, "looking for a GPU")
    _checked(cudart.cudaSetDevice(DEVICE))
    properties = _checked(cudart.cudaGetDeviceProperties(DEVICE))
    return Gpu(
        name=properties.name.decode().rstrip("\0"),
        compute_capability=f"{properties.major}.{properties.minor}",
        memory_bytes=int(properties.totalGlobalMem),
        driver_cuda=_version(_checked(cudart.cudaDriverGetVersion())),
    )


class DeviceMemory:
    """Bytes on the GPU, aligned to 256."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.address = int(_allocated(cudart.cudaMalloc(max(1, size_bytes)), size_bytes, "GPU"))
        _free_later(self, cudart.cudaFree, self.address)

    def fill_zero(self, stream: Stream) -> None:
        _checked(cudart.cudaMemsetAsync(self.address, 0, self.size_bytes, stream.handle))

    def copy_from(self, source: DeviceMemory, stream: Stream) -> None:
        """Bytes of other GPU memory of the same size."""
        _copy(self.address, source.address, self.size_bytes, _Copy.cudaMemcpyDeviceToDevice, stream)


class PinnedArray:
    """Page-locked host memory as a numpy array: `array`."""

    def __init__(self, shape: Sequence[int], dtype: DTypeLike) -> None:
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        flags = cudart.cudaHostAllocDefault
        address = int(_allocated(cudart.cudaHostAlloc(max(1, size), flags), size, "page-locked"))
        buffer = (ctypes.c_uint8 * max(1, size)).from_address(address)
        self.array: NDArray[Any] = np.ctypeslib.as_array(buffer)[:size].view(dtype).reshape(shape)
        self.address = address
        self.array[...] = 0
        _free_later(self, cudart.cudaFreeHost, address)


class Mirror:
    """A tensor on the GPU and its twin in page-locked memory. `host` is the latter's array."""

    def __init__(self, shape: Sequence[int], dtype: DTypeLike) -> None:
        self._pinned = PinnedArray(shape, dtype)
        self.host = self._pinned.array
        self.device = DeviceMemory(self.host.nbytes)

    @property
    def host_address(self) -> int:
        return self._pinned.address

    def upload(self, stream: Stream, size_bytes: int | None = None) -> None:
        """The first bytes (all of them by default), to the GPU."""
        size = self.host.nbytes if size_bytes is None else size_bytes
        kind = _Copy.cudaMemcpyHostToDevice
        _copy(self.device.address, self._pinned.address, size, kind, stream)

    def download(self, stream: Stream, size_bytes: int | None = None) -> None:
        """The first bytes (all of them by default), to the host."""
        size = self.host.nbytes if size_bytes is None else size_bytes
        kind = _Copy.cudaMemcpyDeviceToHost
        _copy(self._pinned.address, self.device.address, size, kind, stream)


class Packed:
    """Several small tensors side by side, so that one copy moves them all. `host[name]`."""

    def __init__(self, tensors: Mapping[str, tuple[Sequence[int], str]]) -> None:
        """tensors: shape and dtype by name."""
        self._offsets: dict[str, int] = {}
        size = 0
        for name, (shape, dtype) in tensors.items():
            self._offsets[name] = size
            size += _aligned(math.prod(shape) * np.dtype(dtype).itemsize)
        self._bytes = Mirror([size], np.uint8)
        self.upload = self._bytes.upload
        self.download = self._bytes.download
        self.host: dict[str, NDArray[Any]] = {}
        for name, (shape, dtype) in tensors.items():
            place = self._bytes.host[self._offsets[name] :]
            count = math.prod(shape)
            self.host[name] = np.frombuffer(place, dtype, count).reshape(shape)

    def device_addresses(self) -> dict[str, int]:
        return {name: self._bytes.device.address + at for name, at in self._offsets.items()}

    def host_addresses(self) -> dict[str, int]:
        return {name: self._bytes.host_address + at for name, at in self._offsets.items()}


class Stream:
    """Work that the GPU does in the order in which it is put in."""

    def __init__(self) -> None:
        created = _checked(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
        self.handle = int(created)
        _free_later(self, cudart.cudaStreamDestroy, self.handle)

    def synchronize(self) -> None:
        """Wait until everything in the stream is done."""
        _checked(cudart.cudaStreamSynchronize(self.handle))

    @contextmanager
    def capture(self) -> Iterator[CapturedGraph]:
        """Work put into the stream inside the block is not done but recorded.

        The graph can be launched once the block is left. Other threads may use CUDA meanwhile.
        """
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _checked(cudart.cudaStreamBeginCapture(self.handle, mode))
        captured = CapturedGraph()
        try:
            yield captured
        except BaseException:
            cudart.cudaStreamEndCapture(self.handle)  # the first error is the one to tell
            raise
        captured.instantiate(_checked(cudart.cudaStreamEndCapture(self.handle)))


class CapturedGraph:
    """A sequence of GPU work that one call repeats, with the addresses it was captured with."""

    def __init__(self) -> None:
        self._executable: Any = None

    def instantiate(self, graph: Any) -> None:
        self._executable = _checked(cudart.cudaGraphInstantiate(graph, 0))
        _checked(cudart.cudaGraphDestroy(graph))
        _free_later(self, cudart.cudaGraphExecDestroy, self._executable)

    def launch(self, stream: Stream) -> None:
        assert self._executable is not None, "launched before the capture ended"
        _checked(cudart.cudaGraphLaunch(self._executable, stream.handle))


class Event:
    """A point in a stream that the host can wait for."""

    def __init__(self) -> None:
        self.handle = _checked(cudart.cudaEventCreateWithFlags(cudart.cudaEventDefault))
        _free_later(self, cudart.cudaEventDestroy, self.handle)

    def record(self, stream: Stream) -> None:
        _checked(cudart.cudaEventRecord(self.handle, stream.handle))

    def synchronize(self) -> None:
        """Wait for the work before it; at once if the event was never recorded."""
        _checked(cudart.cudaEventSynchronize(self.handle))

    def is_done(self) -> bool:
        (error,) = cudart.cudaEventQuery(self.handle)
        if error == _Error.cudaErrorNotReady:
            return False
        _check(error, "cudaEventQuery")
        return True

    def seconds_since(self, start: Event) -> float:
        """GPU time between two events that are done."""
        return 1e-3 * float(_checked(cudart.cudaEventElapsedTime(start.handle, self.handle)))


def free_memory_bytes() -> int:
    """What the GPU has left, for all programs together."""
    free, _ = _checked(cudart.cudaMemGetInfo())
    return int(free)


def measure_bandwidth(size_bytes: int = 256 * MIB, repeats: int = 10) -> float:
    """Bytes a second that the GPU's memory reads and writes, together, in a plain copy."""
    stream, begin, end = Stream(), Event(), Event()
    source, target = DeviceMemory(size_bytes), DeviceMemory(size_bytes)
    source.fill_zero(stream)
    target.copy_from(source, stream)  # the first copy is slower
    begin.record(stream)
    for _ in range(repeats):
        target.copy_from(source, stream)
    end.record(stream)
    end.synchronize()
    return 2.0 * size_bytes * repeats / end.seconds_since(begin)


def _copy(target: int, source: int, size: int, kind: Any, stream: Stream) -> None:
    _checked(cudart.cudaMemcpyAsync(target, source, size, kind, stream.handle))


def _checked(result: tuple[Any, ...]) -> Any:
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


def _allocated(result: tuple[Any, ...], size_bytes: int, kind: str) -> Any:
    if result[0] == _Error.cudaErrorMemoryAllocation:
        cudart.cudaGetLastError()  # the error is not sticky, but stays until it is read
        raise out_of_memory(size_bytes, kind)
    return _checked(result)


def out_of_memory(size_bytes: int, kind: str = "GPU") -> UserError:
    """One line on what was asked for and what is there."""
    free = free_memory_bytes() / MIB
    return UserError(
        f"out of {kind} memory: {size_bytes / MIB:.0f} MiB more are needed, the GPU has "
        f"{free:.0f} MiB free; close other programs, or export with fewer positions or "
        "a smaller precision"
    )


def _free_later(owner: object, free: Callable[[Any], Any], handle: Any) -> None:
    """Free with the owner; at the end of the process the driver does it."""
    weakref.finalize(owner, free, handle).atexit = False


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def _version(number: int) -> str:
    """13000 -> "13.0"."""
    return f"{number // 1000}.{number % 1000 // 10}"
