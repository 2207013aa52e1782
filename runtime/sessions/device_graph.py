"""Graphs on the GPU behind the interface of `runtime.sessions.graph`.

In: plans, host arrays. Out: host arrays. A call of a graph without state goes on in the
background: inputs are uploaded, the plan runs and outputs are downloaded in a stream of its own,
beside the step loop's. It does not know what the graphs compute.

All memory of a caller is allocated when it is first needed, at the largest shapes of the plan,
and used again by later calls.
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
from runtime.sessions.device_loop import DeviceLoop, Durations, sized
from runtime.sessions.graph import Array, Graph, Pending
from runtime.sessions.tensorrt import Plan


class DeviceGraph:
    """A loaded plan."""

    def __init__(self, plan: Plan) -> None:
        self.spec = plan.spec
        self.plan = plan
        self._lock = threading.Lock()
        self._idle: list[_Caller] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self.start(inputs).result()

    def start(self, inputs: Mapping[str, Array]) -> Pending:
        """Raises `UserError` for inputs larger than the plan was built for."""
        assert not self.spec.states, f"{self.spec.file} has states: only a loop can call it"
        with self._lock:
            caller = self._idle.pop() if self._idle else _Caller(self.plan)
        try:
            caller.start(inputs)
        except UserError:
            self.give_back(caller)
            raise
        return _Call(self, caller)

    def give_back(self, caller: _Caller) -> None:
        with self._lock:
            self._idle.append(caller)


class DeviceBackbone(DeviceGraph):
    """The backbone's plan, which takes turns with a head's on the GPU."""

    def step_loop(self, head: Graph, durations: Durations | None = None) -> DeviceLoop:
        """See `LoopingGraph`. durations: by stage, where the GPU's seconds are noted."""
        assert isinstance(head, DeviceGraph), f"{head.spec.file} is not on the GPU"
        return DeviceLoop(self.plan, head.plan, durations)


class _Call:
    """A call under way. Its caller serves others once the result was fetched or dropped."""

    def __init__(self, graph: DeviceGraph, caller: _Caller) -> None:
        self._graph = graph
        self._caller: _Caller | None = caller

    def is_done(self) -> bool:
        return self._caller is None or self._caller.done.is_done()

    def result(self) -> dict[str, Array]:
        assert self._caller is not None, "the result was fetched before"
        outputs = self._caller.outputs()
        self._release()
        return outputs

    def _release(self) -> None:
        if self._caller is not None:
            self._graph.give_back(self._caller)
            self._caller = None

    def __del__(self) -> None:
        self._release()


class _Caller:
    """What one call at a time needs: a stream, memory, a context for each profile."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stream = Stream()
        self.done = Event()
        largest = largest_sizes(plan.profiles)
        self._scratch = DeviceMemory(max(map(plan.scratch_bytes, plan.profiles)))
        self._calls = {
            profile: plan.call(profile, self._scratch, self._stream) for profile in plan.profiles
        }
        self._inputs = {
            tensor.name: Mirror(sized(tensor, largest), tensor.dtype) for tensor in plan.spec.inputs
        }
        self._outputs = self._allocate_outputs()
        self._shapes: dict[str, tuple[int, ...]] = {}
        host_inputs = plan.host_inputs
        addresses = {
            name: mirror.host_address if name in host_inputs else mirror.device.address
            for name, mirror in self._inputs.items()
        }
        addresses |= {name: mirror.device.address for name, mirror in self._outputs.items()}
        for call in self._calls.values():
            call.set_addresses(addresses)

    def start(self, inputs: Mapping[str, Array]) -> None:
        """Put uploads, the call and downloads into the stream."""
        self.done.synchronize()  # a call whose result nobody fetched may still be using the memory
        sizes = self._sizes(inputs)
        call = self._calls[self._profile_for(sizes)]
        for name, mirror in self._inputs.items():
            array = np.ascontiguousarray(inputs[name], mirror.host.dtype)
            mirror.host.reshape(-1)[: array.size] = array.reshape(-1)
            mirror.upload(self._stream, array.nbytes)
        call.set_shapes(sizes)
        call.enqueue(self._stream)
        for name, mirror in self._outputs.items():
            self._shapes[name] = call.shape(name)
            size = math.prod(self._shapes[name]) * mirror.host.itemsize
            mirror.download(self._stream, size)
        self.done.record(self._stream)

    def outputs(self) -> dict[str, Array]:
        """Wait, and copy what was downloaded."""
        self.done.synchronize()
        found = {}
        for name, mirror in self._outputs.items():
            count = math.prod(self._shapes[name])
            found[name] = mirror.host.reshape(-1)[:count].reshape(self._shapes[name]).copy()
        return found

    def _allocate_outputs(self) -> dict[str, Mirror]:
        """At the shapes that the largest inputs of any profile give."""
        shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)
        for profile, call in self._calls.items():
            call.set_shapes(largest_sizes({profile: self._plan.profiles[profile]}))
            for tensor in self._plan.spec.outputs:
                shapes[tensor.name].append(call.shape(tensor.name))
        return {
            tensor.name: Mirror(max(shapes[tensor.name], key=math.prod), tensor.dtype)
            for tensor in self._plan.spec.outputs
        }

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


def largest_sizes(profiles: Mapping[str, Mapping[str, Range]]) -> dict[str, int]:
    """The greatest size of each named dimension in any profile."""
    largest: dict[str, int] = {}
    for ranges in profiles.values():
        for name, sizes in ranges.items():
            largest[name] = max(sizes.max, largest.get(name, 0))
    return largest
