"""A stand-in for CUDA, backed by numpy: no GPU, but the rules that a GPU holds its callers to.

It has the functions of `cuda.bindings.runtime` that `runtime.engines.tensorrt.cuda` calls, with the
same signatures (a test compares them), and does what they say as late as CUDA may: work that is put
into a stream is done only when somebody waits for it, or now and then when somebody asks. So a
missing wait shows:

- GPU memory and page-locked memory that a download is going to fill hold poison until then;
- an upload reads the host's memory when it is done, not when it was asked for;
- memory that was freed, never written, or is too small may not be used;
- a captured graph keeps the addresses of its capture, and what is captured is not done.

Threads may call it at any time, as they may call CUDA: each call is done as a whole.

It shows that calls are in the right order with the right arguments. It shows nothing about speed,
and nothing about what a real driver makes of them.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda.bindings import runtime as real

POISON = 0xA5
FIRST_ADDRESS = 1 << 45  # GPU addresses mean nothing to the host: touching them there would crash
PAGE = 4096

Error = real.cudaError_t
Kind = real.cudaMemcpyKind
OK = Error.cudaSuccess


class Misuse(AssertionError):
    """Something that a GPU would answer with wrong numbers or a crash."""


@dataclass
class Block:
    """An allocation. written: which bytes of it hold something."""

    address: int
    content: np.ndarray
    written: np.ndarray
    on_device: bool
    is_freed: bool = False


@dataclass
class Work:
    """One piece of work. announce: what becomes visible at once when it is put into a stream."""

    do: Callable[[], None]
    announce: Callable[[], None] = lambda: None
    owner: object = None


@dataclass
class StandInStream:
    queue: deque[Work] = field(default_factory=deque)
    capturing: list[Work] | None = None
    is_destroyed: bool = False


@dataclass
class StandInEvent:
    """recorded: how often it was put into a stream; reached: up to which of them work got."""

    recorded: int = 0
    reached: int = 0
    stream: StandInStream | None = None
    microseconds: float = 0.0


class StandInCuda:
    """The module `cuda.bindings.runtime`. Names that are no functions are the real ones."""

    def __init__(self, devices: int = 1, memory_bytes: int = 1 << 30, seed: int = 0) -> None:
        self.devices = devices
        self.memory_bytes = memory_bytes
        self.has_driver = True
        self.compute_capability = (8, 9)
        self.calls: list[str] = []
        self._random = np.random.default_rng(seed)
        self._blocks: dict[int, Block] = {}
        self._starts: list[int] = []
        self._next_address = FIRST_ADDRESS
        self._handles: dict[int, Any] = {}
        self._clock = 0.0
        self._is_broken = False
        self._lock = threading.RLock()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or not inspect.ismethod(value):
            return value

        @functools.wraps(value)
        def call(*arguments: Any, **named: Any) -> Any:
            with self._lock:
                return value(*arguments, **named)

        return call

    def __getattr__(self, name: str) -> Any:
        value = getattr(real, name)
        if name.startswith("cuda") and callable(value) and not isinstance(value, type):
            raise Misuse(f"the stand-in has no {name}")
        return value

    # Devices.

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        if not self.has_driver:
            return Error.cudaErrorInsufficientDriver, None
        return (OK, self.devices) if self.devices else (Error.cudaErrorNoDevice, 0)

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        return (OK if device < self.devices else Error.cudaErrorInvalidDevice,)

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        major, minor = self.compute_capability
        properties = SimpleNamespace(
            name=b"stand-in", major=major, minor=minor, totalGlobalMem=self.memory_bytes
        )
        return OK, properties

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return OK, 13_000

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return OK, 13_010

    def cudaGetErrorName(self, error: Any) -> tuple[Any, ...]:
        return OK, error.name.encode()

    def cudaGetErrorString(self, error: Any) -> tuple[Any, ...]:
        return OK, b"of the stand-in"

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return (OK,)

    # Memory.

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        if size > self._free_bytes():
            return Error.cudaErrorMemoryAllocation, None
        address = self._next_address
        self._next_address += -(-size // PAGE) * PAGE + PAGE  # a gap finds overruns
        content = np.full(size, POISON, np.uint8)
        return OK, self._keep(Block(address, content, np.zeros(size, bool), on_device=True))

    def cudaFree(self, devPtr: int) -> tuple[Any, ...]:
        return self._free(devPtr, on_device=True)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        content = np.full(size + PAGE, POISON, np.uint8)
        content = content[-content.ctypes.data % PAGE :][:size]
        block = Block(content.ctypes.data, content, np.ones(size, bool), on_device=False)
        return OK, self._keep(block)

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:
        return self._free(ptr, on_device=False)

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        return OK, self._free_bytes(), self.memory_bytes

    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: int) -> tuple[Any, ...]:
        self._find(devPtr, count, on_device=True)
        content = np.full(count, value, np.uint8)
        self._put(stream, Work(lambda: self.write(devPtr, content)))
        return (OK,)

    def cudaMemcpyAsync(
        self, dst: int, src: int, count: int, kind: Any, stream: int
    ) -> tuple[Any, ...]:
        to_host, from_host = (
            kind == Kind.cudaMemcpyDeviceToHost,
            kind == Kind.cudaMemcpyHostToDevice,
        )
        self._find(src, count, on_device=not from_host)
        target, at = self._find(dst, count, on_device=not to_host)

        def announce() -> None:
            if to_host:
                target.content[at : at + count] = POISON

        def do() -> None:
            content = self.read(src, count, on_device=not from_host)
            self.write(dst, content, on_device=not to_host)

        self._put(stream, Work(do, announce))
        return (OK,)

    def read(self, address: int, count: int, on_device: bool = True) -> np.ndarray:
        """What work on the GPU sees: bytes that something was written to before."""
        block, at = self._find(address, count, on_device)
        if not block.written[at : at + count].all():
            raise Misuse(f"{count} bytes at {address:#x} are read, but not all were written")
        return block.content[at : at + count].copy()

    def write(self, address: int, content: np.ndarray, on_device: bool = True) -> None:
        block, at = self._find(address, content.size, on_device)
        block.content[at : at + content.size] = content
        block.written[at : at + content.size] = True

    # Streams, events, graphs.

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        assert flags == real.cudaStreamNonBlocking, "the default stream would wait for this one"
        return OK, self._new_handle(StandInStream())

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        self._run(self._stream(stream))
        self._stream(stream).is_destroyed = True
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        if self._stream(stream).capturing is not None:
            return (Error.cudaErrorStreamCaptureUnsupported,)
        self._run(self._stream(stream))
        return (OK,)

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:
        self._stream(stream).capturing = []
        return (OK,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        captured, self._stream(stream).capturing = self._stream(stream).capturing, None
        return OK, captured

    def cudaGraphInstantiate(self, graph: list[Work], flags: int) -> tuple[Any, ...]:
        return OK, self._new_handle(list(graph))

    def cudaGraphDestroy(self, graph: list[Work]) -> tuple[Any, ...]:
        graph.clear()
        return (OK,)

    def cudaGraphLaunch(self, graphExec: int, stream: int) -> tuple[Any, ...]:
        for work in self._handles[graphExec]:
            self._put(stream, work)
        self.calls.append("launch")
        return (OK,)

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[Any, ...]:
        del self._handles[graphExec]
        return (OK,)

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return OK, self._new_handle(StandInEvent())

    def cudaEventDestroy(self, event: int) -> tuple[Any, ...]:
        del self._handles[event]
        return (OK,)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:
        found: StandInEvent = self._handles[event]
        found.recorded += 1
        found.stream = self._stream(stream)
        number = found.recorded

        def do() -> None:
            self._clock += 1.0
            found.reached, found.microseconds = number, self._clock

        self._put(stream, Work(do))
        return (OK,)

    def cudaEventSynchronize(self, event: int) -> tuple[Any, ...]:
        found: StandInEvent = self._handles[event]
        while found.reached < found.recorded:
            assert found.stream is not None
            self._step(found.stream)
        return (OK,)

    def cudaEventQuery(self, event: int) -> tuple[Any, ...]:
        """Asked now and then, a GPU has got on meanwhile; how far, is left to chance."""
        found: StandInEvent = self._handles[event]
        if found.stream is not None:
            for _ in range(self._random.integers(0, 4)):
                if found.stream.queue:
                    self._step(found.stream)
        return (OK if found.reached == found.recorded else Error.cudaErrorNotReady,)

    def cudaEventElapsedTime(self, start: int, end: int) -> tuple[Any, ...]:
        first, last = self._handles[start], self._handles[end]
        if first.reached < first.recorded or last.reached < last.recorded:
            return Error.cudaErrorNotReady, None
        return OK, 1e-3 * (last.microseconds - first.microseconds)

    # What a plan needs, and tests ask for.

    def enqueue(self, stream: int, do: Callable[[], None], owner: object) -> None:
        """Work of a plan, called by the context `owner`."""
        self._put(stream, Work(do, owner=owner))

    def is_in_a_graph(self, owner: object) -> bool:
        """Whether a graph that can still be launched holds work of the context."""
        graphs = [thing for thing in self._handles.values() if isinstance(thing, list)]
        return any(work.owner is owner for graph in graphs for work in graph)

    def is_capturing(self, stream: int) -> bool:
        return self._stream(stream).capturing is not None

    def streams(self) -> list[StandInStream]:
        return [thing for thing in self._handles.values() if isinstance(thing, StandInStream)]

    def device_bytes(self) -> int:
        """GPU memory that is allocated."""
        return sum(b.content.size for b in self._blocks.values() if b.on_device and not b.is_freed)

    def check_device_memory(self, address: int, size: int) -> None:
        self._find(address, size, on_device=True)

    def check_host_memory(self, address: int, size: int) -> None:
        self._find(address, size, on_device=False)

    def _put(self, stream: int, work: Work) -> None:
        found = self._stream(stream)
        if found.capturing is not None:
            found.capturing.append(work)
            return
        work.announce()
        found.queue.append(work)

    def _run(self, stream: StandInStream) -> None:
        while stream.queue:
            self._step(stream)

    def _step(self, stream: StandInStream) -> None:
        work = stream.queue.popleft()
        if self._is_broken:  # as on a GPU: after a fault nothing is done any more
            return
        try:
            work.do()
        except BaseException:
            self._is_broken = True
            raise

    def _stream(self, handle: int) -> StandInStream:
        stream: StandInStream = self._handles[handle]
        if stream.is_destroyed:
            raise Misuse("a destroyed stream is used")
        return stream

    def _new_handle(self, thing: Any) -> int:
        handle = 1 + len(self._handles) + self._next_address
        while handle in self._handles:
            handle += 1
        self._handles[handle] = thing
        return handle

    def _keep(self, block: Block) -> int:
        self._blocks[block.address] = block
        self._starts = sorted(self._blocks)
        return block.address

    def _free(self, address: int, on_device: bool) -> tuple[Any, ...]:
        block = self._blocks[address]
        assert block.on_device == on_device
        if block.is_freed:
            raise Misuse(f"{address:#x} is freed twice")
        for stream in self._handles.values():  # as CUDA does: it waits for all work first
            if isinstance(stream, StandInStream) and not stream.is_destroyed:
                self._run(stream)
        block.is_freed = True
        block.content[:] = POISON
        if not on_device:
            del self._blocks[address]
            self._starts = sorted(self._blocks)
        return (OK,)

    def _free_bytes(self) -> int:
        return self.memory_bytes - self.device_bytes()

    def _find(self, address: int, size: int, on_device: bool) -> tuple[Block, int]:
        """The block that holds the bytes, and where in it they begin."""
        index = bisect_right(self._starts, address) - 1
        block = self._blocks[self._starts[index]] if index >= 0 else None
        if block is None or address + size > block.address + block.content.size:
            raise Misuse(f"{size} bytes at {address:#x} are not in one allocation")
        if block.is_freed:
            raise Misuse(f"{address:#x} was freed")
        if block.on_device != on_device:
            raise Misuse(f"{address:#x} is memory of the {'GPU' if block.on_device else 'host'}")
        return block, address - block.address


def as_bytes(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


def host_view(address: int, size: int) -> np.ndarray:
    """Bytes of host memory, as they are now."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
