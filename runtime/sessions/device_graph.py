"""Graphs on the GPU behind the interface of `runtime.sessions.graph`.

In: plans, host arrays. Out: host arrays. A call of a graph without state goes on in the
background: inputs are uploaded, the plan runs and outputs are downloaded, in a stream of the
graph's own, beside the step loop's. It does not know what the graphs compute.

Memory for a call is allocated at the largest shapes of the plan, the first of it when the graph is
loaded, and serves later calls again. Calls of one graph follow each other in its stream, so they
share one context for each profile and the memory for activations.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from runtime.bundle import Range
from runtime.errors import UserError
from runtime.sessions.cuda import DeviceMemory, Event, Mirror, Stream
from runtime.sessions.device_loop import DeviceLoop, sized
from runtime.sessions.graph import Array, Durations, Graph, Pending
from runtime.sessions.tensorrt import Plan


class DeviceGraph:
    """A loaded plan. If it has states, only a loop can call it."""

    def __init__(self, plan: Plan) -> None:
        self.spec = plan.spec
        self.plan = plan
        self._channel = None if plan.spec.states else _Channel(plan)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self.start(inputs).result()

    def start(self, inputs: Mapping[str, Array]) -> Pending:
        """Raises `UserError` for inputs larger than the plan was built for."""
        assert self._channel is not None, f"{self.spec.file} has states"
        return self._channel.start(inputs)


class DeviceBackbone(DeviceGraph):
    """The backbone's plan, which takes turns with a head's on the GPU."""

    def step_loop(self, head: Graph, durations: Durations | None = None) -> DeviceLoop:
        """See `LoopingGraph`. durations: by stage, where the GPU's seconds are noted."""
        assert isinstance(head, DeviceGraph), f"{head.spec.file} is not on the GPU"
        return DeviceLoop(self.plan, head.plan, durations)


class _Channel:
    """The stream in which one plan is called, and memory for the calls under way."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lock = threading.RLock()  # a dropped call may give its buffers back at any moment
        self._stream = Stream()
        self._scratch = DeviceMemory(max(map(plan.scratch_bytes, plan.profiles)))
        self._calls = {
            profile: plan.call(profile, self._scratch, self._stream) for profile in plan.profiles
        }
        largest = largest_sizes(plan.profiles)
        self._input_shapes = {tensor.name: sized(tensor, largest) for tensor in plan.spec.inputs}
        self._output_shapes = self._largest_outputs()
        self._idle = [self._new_buffers()]

    def start(self, inputs: Mapping[str, Array]) -> _Call:
        sizes = self._sizes(inputs)
        call = self._calls[self._profile_for(sizes)]
        with self._lock:
            buffers = self._idle.pop() if self._idle else self._new_buffers()
            buffers.done.synchronize()  # a call whose result nobody fetched may still use them
            buffers.write(inputs, self._stream)
            call.set_addresses(buffers.addresses(self._plan.host_inputs))
            call.set_shapes(sizes)
            call.enqueue(self._stream)
            buffers.fetch({name: call.shape(name) for name in self._output_shapes}, self._stream)
        return _Call(self, buffers)

    def give_back(self, buffers: _Buffers) -> None:
        with self._lock:
            self._idle.append(buffers)

    def _new_buffers(self) -> _Buffers:
        spec = self._plan.spec
        return _Buffers(
            {
                tensor.name: Mirror(self._input_shapes[tensor.name], tensor.dtype)
                for tensor in spec.inputs
            },
            {
                tensor.name: Mirror(self._output_shapes[tensor.name], tensor.dtype)
                for tensor in spec.outputs
            },
        )

    def _largest_outputs(self) -> dict[str, tuple[int, ...]]:
        """At the shapes that the largest inputs of any profile give."""
        shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)
        for profile, call in self._calls.items():
            call.set_shapes(largest_sizes({profile: self._plan.profiles[profile]}))
            for tensor in self._plan.spec.outputs:
                shapes[tensor.name].append(call.shape(tensor.name))
        return {name: max(found, key=math.prod) for name, found in shapes.items()}

    def _sizes(self, inputs: Mapping[str, Array]) -> dict[str, int]:
        """Numbers for the named dimensions, as the arrays have them."""
        sizes: dict[str, int] = {}
        for tensor in self._plan.spec.inputs:
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
        largest = largest_sizes(self._plan.profiles)
        most = ", ".join(f"{size} {name}" for name, size in largest.items())
        raise UserError(f"{self._plan.path}: was built for {most} at most, not {given}; rebuild it")


class _Buffers:
    """Inputs and outputs of one call, on both sides."""

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

    def fetch(self, shapes: dict[str, tuple[int, ...]], stream: Stream) -> None:
        """Put the downloads into the stream."""
        self._shapes = shapes
        for name, mirror in self._outputs.items():
            mirror.download(stream, math.prod(shapes[name]) * mirror.host.itemsize)
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
    """A call under way. Its buffers serve others once the result was fetched or dropped."""

    def __init__(self, channel: _Channel, buffers: _Buffers) -> None:
        self._channel = channel
        self._buffers: _Buffers | None = buffers

    def is_done(self) -> bool:
        return self._buffers is None or self._buffers.done.is_done()

    def result(self) -> dict[str, Array]:
        assert self._buffers is not None, "the result was fetched before"
        outputs = self._buffers.outputs()
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
