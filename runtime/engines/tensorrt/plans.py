"""Plans in TensorRT: deserialised, checked against the manifest, and enqueued.

In: a checked bundle of plans. Out: `Plan`, and `PlanCall`, which is one way to call it: a profile,
an address for every tensor, and work put into a stream. TensorRT and TensorRT-RTX have the same
interface; the manifest says which one it is. This module does not know what the graphs compute, or
who owns the memory (`runtime.engines.tensorrt.device_graph`, `runtime.engines.tensorrt.lane`).

Rules of TensorRT that are kept here: a context belongs to one profile and one thread at a time, and
each captured graph has its own context; activations lie in memory that the caller lends, and calls
that never overlap may share it; inputs that decide shapes lie on the host and are read while a
call is enqueued.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from commands.errors import UserError
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import GraphSpec, Range, TensorSpec
from runtime.bundle.names import TENSORRT_RTX
from runtime.engines.agreement import Found, check_tensors, mismatch
from runtime.engines.tensorrt import plan_check
from runtime.engines.tensorrt.cuda import Gpu, Stream, find_gpu
from runtime.engines.tensorrt.dtypes import dtype_name
from runtime.engines.tensorrt.memory import DeviceMemory, out_of_memory

if TYPE_CHECKING:
    import tensorrt_rtx as trt  # mypy checks every call against the installed package


NAMELESS = ""  # the profile of a plan whose shapes are all fixed


class TensorRT:
    """The library that a bundle's plans were built with, ready on a GPU that can run them."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises `UserError` if the library, the driver or the GPU is not what the plans need."""
        plan_check.check_platform(bundle)
        self._library: Any = plan_check.import_library(bundle)
        plan_check.check_driver(bundle)
        self.gpu: Gpu = find_gpu()
        plan_check.check_gpu(bundle, self.gpu.name, self.gpu.compute_capability)
        self.is_rtx = bundle.manifest.engine.kind == TENSORRT_RTX
        self.title = plan_check.TITLES[bundle.manifest.engine.kind]
        self._logger = self._library.Logger(self._library.Logger.ERROR)
        self._runtime: trt.Runtime = self._library.Runtime(self._logger)

    def describe(self) -> str:
        """Library, version and GPU, in words."""
        gpu = f"{self.gpu.name} (compute capability {self.gpu.compute_capability})"
        return f"{self.title} {self._library.__version__} on {gpu}"

    def load(self, bundle: Bundle, name: str) -> Plan:
        """The plan of a graph, on the GPU.

        Raises:
            UserError: not the plan that the manifest describes, or no memory left for it.
        """
        content = plan_check.read_plan(bundle, name)
        engine = self._runtime.deserialize_cuda_engine(content)
        file = bundle.graph(name).file
        if engine is None:
            raise UserError(
                f"{bundle.path(file)}: {self.title} cannot load it (its own message is above); "
                f"free GPU memory, or rebuild: {plan_check.rebuild_command(bundle)}"
            )
        return Plan(self, engine, bundle.graph(name), str(bundle.path(file)))

    def create_context(
        self, engine: trt.ICudaEngine, *, is_fixed: bool
    ) -> trt.IExecutionContext | None:
        """A context whose activations lie in memory that the caller owns.

        TensorRT-RTX compiles kernels for shapes when it meets them. A call whose shape stays the
        same has them compiled at once, so that none is missing when the call is captured.
        """
        strategy = self._library.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self.is_rtx:
            return engine.create_execution_context(strategy)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        kernels = self._library.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = (
            kernels.EAGER if is_fixed else kernels.LAZY
        )
        return engine.create_execution_context(runtime_config=config)

    def dtype_name(self, dtype: trt.DataType) -> str:
        """As the manifest names it."""
        return dtype_name(dtype.name)

    def is_input(self, mode: trt.TensorIOMode) -> bool:
        return bool(mode == self._library.TensorIOMode.INPUT)

    def is_on_host(self, location: trt.TensorLocation) -> bool:
        return bool(location == self._library.TensorLocation.HOST)


class Plan:
    """A deserialised plan that agrees with the manifest. It holds weights and no state."""

    def __init__(
        self, library: TensorRT, engine: trt.ICudaEngine, spec: GraphSpec, path: str
    ) -> None:
        self.spec = spec
        self.path = path
        self._library = library
        self._engine = engine
        self._check_tensors()
        self._check_aliases()
        self._check_profiles()

    @property
    def profiles(self) -> dict[str, dict[str, Range]]:
        """Ranges of the named dimensions by kind of call; one nameless kind if nothing varies."""
        return self.spec.profiles or {NAMELESS: {}}

    @property
    def host_inputs(self) -> frozenset[str]:
        """Inputs that decide shapes: their values are read on the host, at each enqueue."""
        names = (tensor.name for tensor in self.spec.inputs)
        location = self._engine.get_tensor_location
        return frozenset(name for name in names if self._library.is_on_host(location(name)))

    def scratch_bytes(self, profile: str) -> int:
        """Memory for activations that a call of this profile needs."""
        return int(self._engine.get_device_memory_size_for_profile_v2(self._index(profile)))

    def call(
        self, profile: str, scratch: DeviceMemory, stream: Stream, *, is_fixed: bool = False
    ) -> PlanCall:
        """A new way to call the plan.

        scratch: `scratch_bytes` or more; calls in one stream may share it. is_fixed: its shapes
        will be set only once.

        Raises:
            UserError: no GPU memory left.
        """
        is_fixed |= all(sizes.min == sizes.max for sizes in self.profiles[profile].values())
        context = self._library.create_context(self._engine, is_fixed=is_fixed)
        if context is None:
            raise out_of_memory(self.scratch_bytes(profile))
        chosen = context.set_optimization_profile_async(self._index(profile), stream.handle)
        _expect(chosen, self, f"profile {profile}")
        stream.synchronize()
        context.set_device_memory(scratch.address, scratch.size_bytes)
        return PlanCall(self, context)

    def _index(self, profile: str) -> int:
        return list(self.profiles).index(profile)

    def _check_tensors(self) -> None:
        """Same names, directions, types and sizes as in the manifest."""
        engine = self._engine
        inputs: dict[str, Found] = {}
        outputs: dict[str, Found] = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = self._library.is_input(engine.get_tensor_mode(name))
            (inputs if is_input else outputs)[name] = self._find(name)
        check_tensors(f"{self.path}: the plan", self.spec, inputs, outputs)

    def _find(self, name: str) -> Found:
        sizes = _numbers(self._engine.get_tensor_shape(name))
        return Found(
            self._library.dtype_name(self._engine.get_tensor_dtype(name)),
            tuple(None if size < 0 else size for size in sizes),
        )

    def _check_profiles(self) -> None:
        """Buffers are allocated for the largest shapes of each profile, so all must be true."""
        count = self._engine.num_optimization_profiles
        if count != len(self.profiles):
            raise self._mismatch(f"has {count} profiles", ", ".join(self.profiles))
        for index, ranges in enumerate(self.profiles.values()):
            for tensor in self.spec.inputs:
                named = {size for size in tensor.shape if isinstance(size, str)}
                if named - set(ranges):
                    raise self._mismatch(f"has sizes of {tensor.name} open", "nothing about them")
                if named:
                    self._check_profile(tensor, index, ranges)

    def _check_profile(self, tensor: TensorSpec, index: int, ranges: dict[str, Range]) -> None:
        found = [_numbers(d) for d in self._engine.get_tensor_profile_shape(tensor.name, index)]
        described = [
            tuple(sizes[s] if isinstance(s, str) else s for s in tensor.shape)
            for sizes in (
                {name: getattr(sizes, bound) for name, sizes in ranges.items()}
                for bound in ("min", "opt", "max")
            )
        ]
        if found != described:
            raise self._mismatch(
                f"takes {tensor.name} as {_ranges(found)} in profile {index}", _ranges(described)
            )

    def _check_aliases(self) -> None:
        """An output that TensorRT writes over an input is a state that works in place.

        Versions without this question have no layer that writes over an input.
        """
        alias_of = getattr(self._engine, "get_aliased_input_tensor", None)
        if alias_of is None:
            return
        in_place = {pair.output: pair.input for pair in self.spec.states if pair.in_place}
        for tensor in self.spec.outputs:
            alias = alias_of(tensor.name)
            if alias and in_place.get(tensor.name) != alias:
                raise self._mismatch(f"writes {tensor.name} over {alias}", "otherwise")

    def _mismatch(self, found: str, described: str) -> UserError:
        return mismatch(f"{self.path}: the plan", found, described)


class PlanCall:
    """One context: addresses and shapes are set, then it is enqueued any number of times."""

    def __init__(self, plan: Plan, context: trt.IExecutionContext) -> None:
        self.plan = plan
        self._context = context

    def set_addresses(self, addresses: Mapping[str, int]) -> None:
        """Where every tensor of the graph lies; names of other graphs are ignored."""
        for tensor in (*self.plan.spec.inputs, *self.plan.spec.outputs):
            done = self._context.set_tensor_address(tensor.name, addresses[tensor.name])
            _expect(done, self.plan, f"address of {tensor.name}")

    def set_shapes(self, dimensions: Mapping[str, int]) -> None:
        """Numbers for the named dimensions of the inputs."""
        for tensor in self.plan.spec.inputs:
            if any(isinstance(size, str) for size in tensor.shape):
                shape = tuple(dimensions[s] if isinstance(s, str) else s for s in tensor.shape)
                done = self._context.set_input_shape(tensor.name, shape)
                _expect(done, self.plan, f"shape {list(shape)} of {tensor.name}")

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an input or output, once all input shapes are set."""
        return _numbers(self._context.get_tensor_shape(name))

    def can_be_captured(self, stream: Stream) -> bool:
        """Whether a CUDA graph can hold the call. Older libraries do not say; then it is tried."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or bool(ask(stream.handle))

    def enqueue(self, stream: Stream) -> None:
        """Put the call into the stream."""
        _expect(self._context.execute_async_v3(stream.handle), self.plan, "call")


def _numbers(dims: trt.Dims) -> tuple[int, ...]:
    return tuple(dims[index] for index in range(len(dims)))


def _ranges(shapes: list[tuple[int, ...]]) -> str:
    return " … ".join(str(list(shape)) for shape in shapes)


def _expect(done: bool, plan: Plan, what: str) -> None:
    """TensorRT reports a refusal as False and says why in its log, which goes to stderr."""
    if not done:
        raise RuntimeError(f"{plan.path}: TensorRT refused the {what}; its own message is above")
