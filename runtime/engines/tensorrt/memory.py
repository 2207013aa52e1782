"""GPU memory, and the page-locked host memory that it is filled from.

In: sizes, shapes and addresses. Out: objects that own their memory and free it when they are no
longer referenced. It does not know what the memory holds. Too little memory is a `UserError`.

All work is asynchronous: a method that takes a stream only puts work into it. Host memory that
such work reads or writes is page-locked (`PinnedArray`); it may be touched again only after an
event that was recorded behind the work.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import DTypeLike, NDArray

from commands.errors import UserError
from runtime.bundle.manifest import TensorSpec
from runtime.engines.graph import sized
from runtime.engines.tensorrt.cuda import Event, Stream, checked, free_later

ALIGNMENT = 256  # bytes; TensorRT requires it for every tensor
MIB = 1024 * 1024

_Kind = cudart.cudaMemcpyKind


class DeviceMemory:
    """Bytes on the GPU, aligned to 256."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.address = int(_allocated(cudart.cudaMalloc(max(1, size_bytes)), size_bytes, "GPU"))
        free_later(self, cudart.cudaFree, self.address)

    def fill_zero(self, stream: Stream) -> None:
        checked(cudart.cudaMemsetAsync(self.address, 0, self.size_bytes, stream.handle))


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
        free_later(self, cudart.cudaFreeHost, address)


class Mirror:
    """A tensor on the GPU and its twin in page-locked memory. host: the twin, as an array."""

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
        kind = _Kind.cudaMemcpyHostToDevice
        _copy(self.device.address, self._pinned.address, size, kind, stream)

    def download(self, stream: Stream, size_bytes: int | None = None) -> None:
        """The first bytes (all of them by default), to the host."""
        size = self.host.nbytes if size_bytes is None else size_bytes
        kind = _Kind.cudaMemcpyDeviceToHost
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


def pack(tensors: Iterable[TensorSpec], dimensions: Mapping[str, int]) -> Packed:
    """Tensors side by side, with numbers for their named dimensions."""
    return Packed({tensor.name: (sized(tensor, dimensions), tensor.dtype) for tensor in tensors})


def free_memory_bytes() -> int:
    """Free memory of the GPU, for all programs together."""
    free, _ = checked(cudart.cudaMemGetInfo())
    return int(free)


def measure_bandwidth(size_bytes: int = 256 * MIB, repeats: int = 10) -> float:
    """Bytes a second that the GPU's memory reads and writes, together, in a plain copy."""
    stream, begin, end = Stream(), Event(), Event()
    source, target = DeviceMemory(size_bytes), DeviceMemory(size_bytes)
    source.fill_zero(stream)
    copy_on_device(target.address, source.address, size_bytes, stream)  # the first one is slower
    begin.record(stream)
    for _ in range(repeats):
        copy_on_device(target.address, source.address, size_bytes, stream)
    end.record(stream)
    end.synchronize()
    return 2.0 * size_bytes * repeats / end.seconds_since(begin)


def _allocated(result: tuple[Any, ...], size_bytes: int, kind: str) -> Any:
    if result[0] == cudart.cudaError_t.cudaErrorMemoryAllocation:
        cudart.cudaGetLastError()  # the error is not sticky, but stays until it is read
        raise out_of_memory(size_bytes, kind)
    return checked(result)


def out_of_memory(size_bytes: int, kind: str = "GPU") -> UserError:
    """Says how much memory is needed and how much is free."""
    free = free_memory_bytes() / MIB
    return UserError(
        f"out of {kind} memory: {size_bytes / MIB:.0f} MiB more are needed, the GPU has "
        f"{free:.0f} MiB free; close other programs, or export with fewer positions or "
        "a smaller precision"
    )


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def copy_on_device(target: int, source: int, size_bytes: int, stream: Stream) -> None:
    """From one address on the GPU to another."""
    _copy(target, source, size_bytes, _Kind.cudaMemcpyDeviceToDevice, stream)


def _copy(target: int, source: int, size: int, kind: Any, stream: Stream) -> None:
    checked(cudart.cudaMemcpyAsync(target, source, size, kind, stream.handle))
