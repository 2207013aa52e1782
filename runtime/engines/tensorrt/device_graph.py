"""Graphs on the GPU behind the interface of `runtime.engines.graph`.

In: plans and host arrays. Out: host arrays. A call goes on in the background: inputs are uploaded,
the plan runs and outputs are downloaded, in a stream of the graph's own, beside those of the
loops. It does not know what the graphs compute.

A call has one row; several rows follow each other. The memory of a call has the largest shapes of
the plan, and later calls use it again. The first is allocated when the graph is loaded. Calls of
one graph follow each other in its stream, so they share one context for each profile and the memory
for activations.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from commands.errors import UserError
from runtime.bundle.manifest import Range
from runtime.bundle.names import BACKBONE, ROWS, STEP
from runtime.engines.graph import Array, Graph, OpenRows, sized
from runtime.engines.observing import Observer, stage_of
from runtime.engines.tensorrt.cuda import Event, Stream
from runtime.engines.tensorrt.device_rows import DeviceLoops
from runtime.engines.tensorrt.device_states import DeviceStates
from runtime.engines.tensorrt.lane import TURNS
from runtime.engines.tensorrt.memory import DeviceMemory, Mirror
from runtime.engines.tensorrt.plans import Plan, PlanCall


class DeviceGraph:
    """A loaded plan."""

    def __init__(self, plan: Plan, name: str, observer: Observer | None = None) -> None:
        self.spec = plan.spec
        self.plan = plan
        self._stage = stage_of(name)
        self._observer = observer

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert not self.spec.states, f"{self.spec.file} has states"
        return self._channel.start(inputs, None).result()

    def open_calls(self) -> DeviceCalls:
        """Raises `UserError` if the GPU has no memory left."""
        return DeviceCalls(self._channel, self._channel.take_states())

    def prepare(self) -> None:
        """Allocate what `run` and `open_calls` need. A graph that only a loop calls needs none.

        Raises:
            UserError: no GPU memory left.
        """
        self._channel.give_back_states(self._channel.take_states())

    @cached_property
    def _channel(self) -> _Channel:
        return _Channel(self.plan, self._stage, self._observer)


class DeviceCalls:
    """See `Calls`."""

    def __init__(self, channel: _Channel, states: DeviceStates) -> None:
        self._channel = channel
        self._states = states
        self._turn = 0

    def start(self, inputs: Mapping[str, Array], dimensions: Mapping[str, int]) -> _Call:
        """Raises `UserError` for inputs larger than the plan was built for."""
        turn, self._turn = self._turn, (self._turn + 1) % TURNS
        return self._channel.start(inputs, self._states.addresses(turn))

    def __del__(self) -> None:
        self._channel.give_back_states(self._states)


class DeviceBackbone(DeviceGraph):
    """The plan of the backbone, which takes turns with that of a head on the GPU."""

    def __init__(self, plan: Plan, observer: Observer | None = None) -> None:
        super().__init__(plan, BACKBONE, observer)
        self.rows = plan.profiles[STEP][ROWS].max if STEP in plan.profiles else 1

    def prepare_rows(self, head: Graph, streams: int) -> OpenRows:
        """See `LoopingGraph`."""
        assert isinstance(head, DeviceGraph), f"{head.spec.file} is not on the GPU"
        return DeviceLoops(self.plan, head.plan, streams, self._observer).open


class _Channel:
    """The stream in which one plan is called, and memory for the calls under way."""

    def __init__(self, plan: Plan, stage: str, observer: Observer | None) -> None:
        self._plan = plan
        self.stage, self.observer = stage, observer
        self._lock = threading.RLock()  # a dropped call may give its buffers back at any moment
        self._stream = Stream()
        self._scratch = DeviceMemory(max(map(plan.scratch_bytes, plan.profiles)))
        self._calls = {
            profile: plan.call(profile, self._scratch, self._stream) for profile in plan.profiles
        }
        largest = largest_sizes(plan.profiles) | {ROWS: 1}
        states = {name for pair in plan.spec.states for name in (pair.input, pair.output)}
        self._inputs = [tensor for tensor in plan.spec.inputs if tensor.name not in states]
        self._outputs = [tensor for tensor in plan.spec.outputs if tensor.name not in states]
        self._input_shapes = {tensor.name: sized(tensor, largest) for tensor in self._inputs}
        self._output_shapes = self._largest_outputs()
        self._idle = [self._new_buffers()]
        self._idle_states = [DeviceStates(plan.spec)]

    def take_states(self) -> DeviceStates:
        """States of zeros. `DeviceCalls` gives them back when it is dropped."""
        with self._lock:
            states = self._idle_states.pop() if self._idle_states else DeviceStates(self._plan.spec)
            states.clear(self._stream)
        return states

    def give_back_states(self, states: DeviceStates) -> None:
        with self._lock:
            self._idle_states.append(states)

    def start(self, inputs: Mapping[str, Array], states: Mapping[str, int] | None) -> _Call:
        """Put a call into the stream. states: their addresses, if the graph has any."""
        sizes = self._sizes(inputs)
        call = self._calls[self._profile_for(sizes)]
        with self._lock:
            buffers = self._idle.pop() if self._idle else self._new_buffers()
            buffers.done.synchronize()  # a call whose result nobody fetched may still use them
            buffers.write(inputs, self._stream)
            call.set_addresses({**buffers.addresses(self._plan.host_inputs), **(states or {})})
            call.set_shapes(sizes)
            call.enqueue(self._stream)
            buffers.fetch(call, self._stream)
        return _Call(self, buffers)

    def give_back(self, buffers: _Buffers) -> None:
        with self._lock:
            self._idle.append(buffers)

    def _new_buffers(self) -> _Buffers:
        inputs, outputs = self._input_shapes, self._output_shapes
        return _Buffers(
            {tensor.name: Mirror(inputs[tensor.name], tensor.dtype) for tensor in self._inputs},
            {tensor.name: Mirror(outputs[tensor.name], tensor.dtype) for tensor in self._outputs},
        )

    def _largest_outputs(self) -> dict[str, tuple[int, ...]]:
        """The largest shape of each output, in any profile."""
        shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)
        for profile, call in self._calls.items():
            call.set_shapes(largest_sizes({profile: self._plan.profiles[profile]}) | {ROWS: 1})
            for tensor in self._outputs:
                shapes[tensor.name].append(call.shape(tensor.name))
        return {name: max(found, key=math.prod) for name, found in shapes.items()}

    def _sizes(self, inputs: Mapping[str, Array]) -> dict[str, int]:
        """Numbers for the named dimensions, as the arrays have them."""
        sizes: dict[str, int] = {}
        for tensor in self._inputs:
            shape = inputs[tensor.name].shape
            assert len(shape) == len(tensor.shape), f"{tensor.name} is {list(shape)}"
            for size, described in zip(shape, tensor.shape, strict=True):
                if isinstance(described, str):
                    sizes[described] = size
                else:
                    assert size == described, f"{tensor.name} is {list(shape)}"
        return sizes

    def _profile_for(self, sizes: Mapping[str, int]) -> str:
        """The first profile whose ranges hold the sizes."""
        for name, ranges in self._plan.profiles.items():
            if all(ranges[key].min <= size <= ranges[key].max for key, size in sizes.items()):
                return name
        given = ", ".join(f"{size} {name}" for name, size in sizes.items())
        largest = largest_sizes(self._plan.profiles) | {ROWS: 1}
        most = ", ".join(f"{size} {name}" for name, size in largest.items())
        raise UserError(f"{self._plan.path}: was built for {most} at most, not {given}; rebuild it")


class _Buffers:
    """Inputs and outputs of one call, on the host and on the GPU."""

    def __init__(self, inputs: dict[str, Mirror], outputs: dict[str, Mirror]) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.done = Event()

    def addresses(self, on_host: frozenset[str]) -> dict[str, int]:
        mirrors = {**self._inputs, **self._outputs}
        return {
            name: mirror.host_address if name in on_host else mirror.device.address
            for name, mirror in mirrors.items()
        }

    def write(self, inputs: Mapping[str, Array], stream: Stream) -> None:
        for name, mirror in self._inputs.items():
            array = np.ascontiguousarray(inputs[name], mirror.host.dtype)
            mirror.host.reshape(-1)[: array.size] = array.reshape(-1)
            mirror.upload(stream, array.nbytes)

    def fetch(self, call: PlanCall, stream: Stream) -> None:
        """Put the downloads into the stream."""
        for name, mirror in self._outputs.items():
            self._shapes[name] = call.shape(name)
            mirror.download(stream, math.prod(self._shapes[name]) * mirror.host.itemsize)
        self.done.record(stream)

    def outputs(self) -> dict[str, Array]:
        """Wait, and copy what was downloaded."""
        self.done.synchronize()
        found = {}
        for name, mirror in self._outputs.items():
            shape = self._shapes[name]
            found[name] = mirror.host.reshape(-1)[: math.prod(shape)].reshape(shape).copy()
        return found


class _Call:
    """A call under way. Its buffers serve others once the result is fetched or dropped."""

    def __init__(self, channel: _Channel, buffers: _Buffers) -> None:
        self._channel = channel
        self._buffers: _Buffers | None = buffers
        self._start = time.perf_counter()

    def is_done(self) -> bool:
        return self._buffers is None or self._buffers.done.is_done()

    def result(self) -> dict[str, Array]:
        assert self._buffers is not None, "the result was fetched before"
        outputs = self._buffers.outputs()
        if self._channel.observer is not None:
            self._channel.observer.note(self._channel.stage, time.perf_counter() - self._start)
        self._release()
        return outputs

    def _release(self) -> None:
        if self._buffers is not None:
            self._channel.give_back(self._buffers)
            self._buffers = None

    def __del__(self) -> None:
        self._release()


def largest_sizes(profiles: Mapping[str, Mapping[str, Range]]) -> dict[str, int]:
    """The greatest size of each named dimension in any profile."""
    largest: dict[str, int] = {}
    for ranges in profiles.values():
        for name, sizes in ranges.items():
            largest[name] = max(sizes.max, largest.get(name, 0))
    return largest
