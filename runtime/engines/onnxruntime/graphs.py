"""Graphs in ONNX Runtime: on the CPU, or by one of its execution providers on a GPU.

In: a checked bundle. Out: graphs behind the interface of `runtime.engines.graph`. It does not
know what the graphs compute.

If a provider cannot start, ONNX Runtime falls back to the CPU with a warning; here that is an
error. On a GPU the states stay in its memory, and a loop has one row. The small tensors between
two graphs pass through the host, so `runtime.engines.tensorrt` is faster on a GPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import onnxruntime
from onnxruntime import OrtValue
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from commands.errors import UserError
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import TensorSpec
from runtime.bundle.names import INPUTS_EMBEDS
from runtime.engines.agreement import Found, check_facts, check_tensors
from runtime.engines.graph import ALL_ROWS, Array, Call, States
from runtime.engines.observing import ObservedCall, Observer, observed, stage_of
from runtime.engines.onnxruntime.threads import choose_threads

LOG_ERRORS_ONLY = 3
BFLOAT16 = 16  # ONNX's number for the type
DTYPES = {"float": "float32"}  # where its names differ from the manifest's
GPU = "cuda"  # ONNX Runtime's name for the memory of its NVIDIA providers

_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.EPFail,
)


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    memory: where the states lie, if not in memory of the host. plugin: a package that provides the
    provider and must be registered first. install: how to get it.
    """

    name: str
    title: str
    memory: str | None = None
    plugin: str | None = None
    install: str = ""


CPU = Provider("CPUExecutionProvider", "the CPU")
_WITH_CUDA = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
CUDA = Provider("CUDAExecutionProvider", "a GPU by CUDA", GPU, install=_WITH_CUDA)
TENSORRT = Provider("TensorrtExecutionProvider", "a GPU by TensorRT", GPU, install=_WITH_CUDA)
TENSORRT_RTX = Provider(
    "NvTensorRTRTXExecutionProvider",
    "a GPU by TensorRT-RTX",
    GPU,
    plugin="onnxruntime_ep_nv_tensorrt_rtx",
    install="pip install onnxruntime-ep-nv-tensorrt-rtx",
)


class BoundCall:
    """One graph with all of its tensors bound; one binding for each turn of its states."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        bindings: list[onnxruntime.IOBinding],
        memory: list[object],
    ) -> None:
        self._run: Callable[[onnxruntime.IOBinding], None] = session.run_with_iobinding
        self._bindings = bindings * (2 // len(bindings))
        self._memory = memory  # bindings hold bare addresses

    def run(self, turn: int) -> None:
        self._run(self._bindings[turn])


class OnnxRuntimeGraph:
    """One graph of a bundle, loaded."""

    def __init__(
        self,
        bundle: Bundle,
        name: str,
        threads: int | None,
        provider: Provider = CPU,
        observer: Observer | None = None,
        profile: Path | None = None,
    ) -> None:
        """profile: begin of a file's name, for the times of all operators; see `end_profile`."""
        self.spec = bundle.graph(name)
        self.rows = 1 if provider.memory else bundle.manifest.engine.rows
        self._name, self._observer = name, observer
        self._session = _open_session(bundle, name, threads, provider, profile)
        self._provider = provider
        self._placed: WeakKeyDictionary[States, dict[int, OrtValue]] = WeakKeyDictionary()
        self._check(bundle, name)

    def bind(
        self,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        states: States,
        rows: slice = ALL_ROWS,
    ) -> Call:
        bindings, memory = [], [inputs, outputs, states]
        for turn in range(states.turns):
            past, present = (self._place(states, side) for side in states.bound_at(turn, rows))
            binding = self._session.io_binding()
            for tensor in self.spec.inputs:
                value = past[tensor.name] if tensor.name in past else inputs[tensor.name]
                memory.append(value)
                if isinstance(value, OrtValue):
                    binding.bind_ortvalue_input(tensor.name, value)
                else:
                    binding.bind_input(*_placement(tensor, value))
            for tensor in self.spec.outputs:
                value = present[tensor.name] if tensor.name in present else outputs[tensor.name]
                memory.append(value)
                if isinstance(value, OrtValue):
                    binding.bind_ortvalue_output(tensor.name, value)
                else:
                    binding.bind_output(*_placement(tensor, value))
            bindings.append(binding)
        call = BoundCall(self._session, bindings, memory)
        if self._observer is None:
            return call
        return ObservedCall(call, self._stage(inputs), self._observer)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        names = [tensor.name for tensor in self.spec.outputs]
        with observed(self._observer, self._stage(inputs)):
            found = self._session.run(names, dict(inputs))
        return dict(zip(names, found, strict=True))

    def end_profile(self) -> Path:
        """Write the profile; nothing is recorded afterwards."""
        return Path(self._session.end_profiling())

    def _stage(self, inputs: Mapping[str, Array]) -> str:
        embeddings = inputs.get(INPUTS_EMBEDS)
        return stage_of(self._name, 1 if embeddings is None else embeddings.shape[1])

    def _place(self, states: States, arrays: Mapping[str, Array]) -> dict[str, Array | OrtValue]:
        """The arrays, or their counterparts on the GPU, which live as long as the states.

        States on a GPU have a single row: the host can neither move nor clear a slice of them.
        """
        if not self._provider.memory:
            return dict(arrays)
        placed = self._placed.setdefault(states, {})
        for array in arrays.values():
            if array.ctypes.data not in placed:
                value = OrtValue.ortvalue_from_numpy(array, self._provider.memory, 0)
                placed[array.ctypes.data] = value
        return {name: placed[array.ctypes.data] for name, array in arrays.items()}

    def _check(self, bundle: Bundle, name: str) -> None:
        """Raises `UserError` if the file is not what the manifest says."""
        session, graph = self._session, f"{bundle.path(self.spec.file)}: {name}"
        inputs, outputs = (
            {node.name: _find(node) for node in nodes}
            for nodes in (session.get_inputs(), session.get_outputs())
        )
        check_tensors(graph, self.spec, inputs, outputs)
        check_facts(graph, bundle, name, session.get_modelmeta().custom_metadata_map)


def describe(threads: int | None, provider: Provider = CPU) -> str:
    """Engine, version, device and threads, in words."""
    running_on = f"ONNX Runtime {onnxruntime.__version__} on {provider.title}"
    return f"{running_on}, {choose_threads(threads)}"


def check_provider(provider: Provider) -> None:
    """Make a provider known to ONNX Runtime.

    Raises:
        UserError: it is not installed.
    """
    if provider.plugin is not None and provider.name not in _registered():
        try:
            plugin = importlib.import_module(provider.plugin)
            onnxruntime.register_execution_provider_library(
                provider.name, plugin.get_library_path()
            )
        except (ImportError, OSError, *_LOAD_ERRORS) as error:
            raise _missing(provider, f"{provider.plugin}: {error}") from None
    if provider.name not in _registered():
        found = ", ".join(onnxruntime.get_available_providers())
        raise _missing(provider, f"this ONNX Runtime has {found}")


def _registered() -> set[str]:
    """Providers that are built in, and those of plugins that found a device to run on."""
    plugged = {device.ep_name for device in onnxruntime.get_ep_devices()}
    return plugged.union(onnxruntime.get_available_providers())


def _missing(provider: Provider, why: str) -> UserError:
    return UserError(f"{provider.name} is not available ({why}); {provider.install}")


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    """Threads sleep while they wait: a bundle's sessions take turns, and spinning threads would
    take the processors from the session whose turn it is, and from other programs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = LOG_ERRORS_ONLY
    return options


def _open_session(
    bundle: Bundle,
    name: str,
    threads: int | None,
    provider: Provider,
    profile: Path | None = None,
) -> onnxruntime.InferenceSession:
    path = bundle.path(bundle.graph(name).file)
    options = _session_options(choose_threads(threads).of(bundle, name))
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    providers: list[str] | None = [provider.name]
    if provider.name not in onnxruntime.get_available_providers():  # of a plugin
        devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == provider.name]
        options.add_provider_for_devices(devices[:1], {})
        providers = None
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except _LOAD_ERRORS as error:
        if isinstance(error, ort_errors.NotImplemented) and bundle.graph(name).precision == "bf16":
            raise UserError(
                f"{path}: ONNX Runtime has no bfloat16 arithmetic on the CPU; to hear how it "
                f"sounds: python -m export.emulate {bundle.folder} --output DIR"
            ) from None
        raise UserError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error}); "
            "install a newer onnxruntime or export again"
        ) from None
    running = session.get_providers()
    if running[0] != provider.name:
        raise UserError(
            f"{path}: ONNX Runtime could not start {provider.name} and would use {running[0]}; "
            f"check the NVIDIA driver, CUDA and cuDNN ({provider.install})"
        )
    return session


def _find(node: onnxruntime.NodeArg) -> Found:
    """A type like "tensor(float)", and a shape, in the manifest's words."""
    dtype = node.type.removeprefix("tensor(").removesuffix(")")
    return Found(DTYPES.get(dtype, dtype), tuple(node.shape))


def _placement(tensor: TensorSpec, array: Array) -> tuple[object, ...]:
    assert array.flags.c_contiguous, f"{tensor.name} is not contiguous"
    element = BFLOAT16 if tensor.dtype == "bfloat16" else array.dtype.type
    return tensor.name, "cpu", 0, element, array.shape, array.ctypes.data
