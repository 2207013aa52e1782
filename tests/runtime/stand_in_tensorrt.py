"""A stand-in for TensorRT-RTX: plans that are ONNX graphs, run by ONNX Runtime in stand-in memory.

It has what `runtime.engines.tensorrt.plans` calls; enumerations are those of the real package. It
holds its caller to TensorRT's rules: every tensor needs an address, aligned and large enough;
shapes lie within the context's profile; activations need lent memory, which two streams may not
share; a context must have been enqueued once before it is captured, into one graph only; outputs
that alias an input share its address; inputs that decide shapes lie on the host.

`write_plans` turns a bundle of ONNX graphs into one with such plans.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import tensorrt_rtx as real

from runtime.bundle import names
from runtime.bundle.loading import describe_file
from runtime.bundle.manifest import (
    EngineSpec,
    GraphSpec,
    PlansSpec,
    Range,
    TensorSpec,
    encode_manifest,
    read_manifest,
)
from tests.runtime.stand_in_cuda import Misuse, StandInCuda, as_bytes, host_view
from tests.runtime.tiny_bundle import with_fixed_capacity

VERSION = "1.2.3"
ROWS = 4
RANGES = {
    names.FRAMES: Range(1, 20, 900),
    names.SAMPLES: Range(1, 4_000, 400_000),
    names.ROWS: Range(1, 1, ROWS),
}
SCRATCH_BYTES = 4_096
ALIGNMENT = 256

_TYPES = {
    "float32": real.DataType.FLOAT,
    "int64": real.DataType.INT64,
    "int32": real.DataType.INT32,
    "bool": real.DataType.BOOL,
}


def write_plans(
    source: Path,
    folder: Path,
    *,
    longest_part: int = 64,
    on_host: Sequence[str] = (),
    keep_onnx: Sequence[str] = (names.CODEC_ENCODER,),
    built_for: Sequence[str] = ("8.9",),
) -> Path:
    """A bundle with stand-in plans of every graph but `keep_onnx`.

    longest_part: positions of one prefill call. on_host: inputs that the plans read there.
    """
    shutil.copytree(source, folder)
    manifest = read_manifest(folder)
    graphs = {
        name: spec
        if name in keep_onnx
        else _write_plan(folder, name, spec, longest_part=longest_part, on_host=on_host)
        for name, spec in manifest.graphs.items()
    }
    (folder / names.MANIFEST_FILE).unlink()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    plans = PlansSpec(
        version=VERSION,
        compute_capabilities=tuple(built_for),
        platform=None,
        precision="fp32",
        source_sha256="0" * 64,
    )
    manifest = msgspec.structs.replace(
        manifest,
        engine=EngineSpec(names.TENSORRT_RTX, "portable", rows=ROWS, plans=plans),
        graphs=graphs,
        files={str(path.relative_to(folder)): describe_file(path) for path in files},
    )
    (folder / names.MANIFEST_FILE).write_bytes(encode_manifest(manifest))
    return folder


def _write_plan(
    folder: Path, name: str, spec: GraphSpec, *, longest_part: int, on_host: Sequence[str]
) -> GraphSpec:
    model = onnx.load(folder / spec.file)  # with external data, if it has any
    (folder / spec.file).unlink()
    spec = msgspec.structs.replace(
        with_fixed_capacity(spec),
        file=f"{name}{names.PLAN_SUFFIX}",
        weights=None,
        profiles=_profiles(spec, longest_part),
    )
    header = {"spec": msgspec.to_builtins(spec), "on_host": list(on_host)}
    content = json.dumps(header).encode() + b"\n" + model.SerializeToString()
    (folder / spec.file).write_bytes(content)
    return spec


def _profiles(spec: GraphSpec, longest_part: int) -> dict[str, dict[str, Range]]:
    named = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    if names.POSITIONS in named:
        longest = Range(1, min(16, longest_part), longest_part)
        return {
            names.PREFILL: {names.POSITIONS: longest, names.ROWS: Range(1, 1, 1)},
            names.STEP: {names.POSITIONS: Range(1, 1, 1), names.ROWS: RANGES[names.ROWS]},
        }
    named.discard(names.CAPACITY)
    return {"call": {name: RANGES[name] for name in sorted(named)}} if named else {}


class StandInTensorRT:
    """The module `tensorrt_rtx`."""

    __version__ = VERSION

    def __init__(self, cuda: StandInCuda) -> None:
        self.cuda = cuda
        self.can_capture = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(real, name)
        if not hasattr(value, "__members__"):
            raise Misuse(f"the stand-in has no {name}")
        return value

    class Logger:
        ERROR = real.Logger.ERROR

        def __init__(self, min_severity: Any) -> None:
            self.min_severity = min_severity

    def Runtime(self, logger: Logger) -> StandInRuntime:
        return StandInRuntime(self)


class StandInRuntime:
    def __init__(self, library: StandInTensorRT) -> None:
        self._library = library

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> StandInEngine | None:
        if not serialized_engine.startswith(b"{"):
            return None
        header, _, model = serialized_engine.partition(b"\n")
        return StandInEngine(self._library, json.loads(header), model)


class StandInConfig:
    """IRuntimeConfig."""

    dynamic_shapes_kernel_specialization_strategy: Any = None
    _strategy: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self._strategy = strategy

    def get_execution_context_allocation_strategy(self) -> Any:
        return self._strategy


class StandInEngine:
    """ICudaEngine."""

    def __init__(self, library: StandInTensorRT, header: Mapping[str, Any], model: bytes) -> None:
        self.library = library
        self.spec = msgspec.convert(header["spec"], GraphSpec)
        self.on_host = set(header["on_host"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {tensor.name: tensor for tensor in self.spec.inputs}
        self.outputs = {tensor.name: tensor for tensor in self.spec.outputs}
        self.tensors = {**self.inputs, **self.outputs}

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self.spec.profiles))

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return real.TensorIOMode.INPUT if name in self.inputs else real.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return _TYPES[self.tensors[name].dtype]

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        return [-1 if isinstance(size, str) else size for size in self.tensors[name].shape]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Sequence[int]]:
        ranges = list(self.spec.profiles.values())[profile_index]
        return [
            [
                getattr(ranges[s], bound) if isinstance(s, str) else s
                for s in self.inputs[name].shape
            ]
            for bound in ("min", "opt", "max")
        ]

    def get_tensor_location(self, name: str) -> Any:
        on_host = name in self.on_host
        return real.TensorLocation.HOST if on_host else real.TensorLocation.DEVICE

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return self.alias(name)

    def alias(self, name: str) -> str | None:
        in_place = {pair.output: pair.input for pair in self.spec.states if pair.in_place}
        return in_place.get(name)

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        assert profile_index < self.num_optimization_profiles
        return SCRATCH_BYTES * (profile_index + 1)

    def create_runtime_config(self) -> StandInConfig:
        return StandInConfig()

    def create_execution_context(self, runtime_config: StandInConfig) -> StandInContext:
        strategy = runtime_config.get_execution_context_allocation_strategy()
        assert strategy == real.ExecutionContextAllocationStrategy.USER_MANAGED
        return StandInContext(self)


class StandInContext:
    """IExecutionContext."""

    def __init__(self, engine: StandInEngine) -> None:
        self._engine = engine
        self._cuda = engine.library.cuda
        self._profile: int | None = None
        self._scratch: int | None = None
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._was_enqueued = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self._profile = profile_index
        return profile_index < self._engine.num_optimization_profiles

    def set_device_memory(self, memory: int, size: int) -> None:
        assert self._profile is not None
        assert size >= self._engine.get_device_memory_size_for_profile_v2(self._profile)
        self._cuda.check_device_memory(memory, size)
        self._scratch = memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine.tensors or memory % ALIGNMENT:
            return False
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        ranges = list(self._engine.spec.profiles.values())[self._profile or 0]
        described = self._engine.inputs[name].shape
        for size, wanted in zip(shape, described, strict=True):
            low, high = (
                (ranges[wanted].min, ranges[wanted].max)
                if isinstance(wanted, str)
                else (wanted, wanted)
            )
            if not low <= size <= high:
                return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        sizes = self._sizes()
        shape = [sizes.get(s, -1) if isinstance(s, str) else s for s in self._tensor(name).shape]
        if -1 not in shape or name in self._engine.inputs:
            return shape
        zeros = {one: np.zeros(self._shape(one), t.dtype) for one, t in self._engine.inputs.items()}
        return list(self._engine.session.run([name], zeros)[0].shape)

    def is_stream_capturable(self, stream: int) -> bool:
        return self._engine.library.can_capture

    def execute_async_v3(self, stream_handle: int) -> bool:
        is_unfit = not self._was_enqueued or self._cuda.is_in_a_graph(self)
        if self._cuda.is_capturing(stream_handle) and is_unfit:
            return False
        self._check(stream_handle)
        addresses = dict(self._addresses)
        shapes = {name: self._shape(name) for name in self._engine.tensors}
        decided = {
            name: _array(host_view(addresses[name], self._size(name)), tensor, shapes[name])
            for name, tensor in self._engine.inputs.items()
            if name in self._engine.on_host
        }  # read now: what the host writes later has no effect
        self._cuda.enqueue(stream_handle, lambda: self._execute(addresses, shapes, decided), self)
        self._was_enqueued = True
        return True

    def _execute(
        self,
        addresses: Mapping[str, int],
        shapes: Mapping[str, tuple[int, ...]],
        decided: Mapping[str, np.ndarray],
    ) -> None:
        feeds = {}
        for name, tensor in self._engine.inputs.items():
            if name in decided:
                feeds[name] = decided[name]
            else:
                count = math.prod(shapes[name]) * np.dtype(tensor.dtype).itemsize
                content = self._cuda.read(addresses[name], count)
                feeds[name] = _array(content, tensor, shapes[name])
        found = self._engine.session.run(list(self._engine.outputs), feeds)
        for name, array in zip(self._engine.outputs, found, strict=True):
            assert array.shape == shapes[name], name
            self._cuda.write(addresses[name], as_bytes(array))

    def _check(self, stream: int) -> None:
        if self._scratch is None or self._profile is None:
            raise Misuse("no profile, or no memory for activations")
        user = self._engine.library.__dict__.setdefault("scratch_users", {})
        if user.setdefault(self._scratch, stream) != stream:
            raise Misuse("two streams share the memory for activations")
        for name in self._engine.tensors:
            if name not in self._addresses:
                raise Misuse(f"{name} has no address")
            if name in self._engine.on_host:
                self._cuda.check_host_memory(self._addresses[name], self._size(name))
            else:
                self._cuda.check_device_memory(self._addresses[name], self._size(name))
            alias = self._engine.alias(name)
            if alias and self._addresses[alias] != self._addresses[name]:
                raise Misuse(f"{name} aliases {alias}, but lies elsewhere")

    def _tensor(self, name: str) -> TensorSpec:
        return self._engine.tensors[name]

    def _sizes(self) -> dict[str, int]:
        return {
            described: size
            for name, shape in self._shapes.items()
            for described, size in zip(self._tensor(name).shape, shape, strict=True)
            if isinstance(described, str)
        }

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(self.get_tensor_shape(name))
        if -1 in shape:
            raise Misuse(f"{name} has no shape yet")
        return shape

    def _size(self, name: str) -> int:
        return math.prod(self._shape(name)) * np.dtype(self._tensor(name).dtype).itemsize


def _array(content: np.ndarray, tensor: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(content.tobytes(), tensor.dtype).reshape(shape)
