"""Graphs in ONNX Runtime on the CPU.

In: a checked bundle. Out: graphs behind the interface of `runtime.sessions.graph`. It does not
know what the graphs compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from runtime.bundle import Bundle, TensorSpec
from runtime.errors import UserError
from runtime.sessions.graph import Array, States

PROVIDER = "CPUExecutionProvider"
LOG_ERRORS_ONLY = 3
BFLOAT16 = 16  # ONNX's number for the type

_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class BoundCall:
    """One graph with all of its tensors bound; one binding for each turn of its states."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        bindings: list[onnxruntime.IOBinding],
        states: States,
        buffers: list[Array],
    ) -> None:
        self._run: Callable[[onnxruntime.IOBinding], None] = session.run_with_iobinding
        self._bindings = bindings
        self._states = states
        self._buffers = buffers  # bindings hold bare addresses: keep the memory alive

    def run(self) -> None:
        self._run(self._bindings[self._states.turn])
        self._states.advance()


class OnnxRuntimeGraph:
    """One graph of a bundle, loaded."""

    def __init__(self, bundle: Bundle, name: str, threads: int | None) -> None:
        self.spec = bundle.graph(name)
        self._session = _open_session(bundle, name, threads)
        self._check_tensors(bundle, name)

    def bind(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], states: States
    ) -> BoundCall:
        bindings, buffers = [], []
        for turn in range(states.turns):
            past, present = states.bound_at(turn)
            binding = self._session.io_binding()
            for tensor in self.spec.inputs:
                array = past[tensor.name] if tensor.name in past else inputs[tensor.name]
                binding.bind_input(*_placement(tensor, array))
                buffers.append(array)
            for tensor in self.spec.outputs:
                array = present[tensor.name] if tensor.name in present else outputs[tensor.name]
                binding.bind_output(*_placement(tensor, array))
                buffers.append(array)
            bindings.append(binding)
        return BoundCall(self._session, bindings, states, buffers)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        names = [tensor.name for tensor in self.spec.outputs]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))

    def _check_tensors(self, bundle: Bundle, name: str) -> None:
        """The manifest and the graph must speak of the same tensors, in the same order."""
        described = [tensor.name for tensor in (*self.spec.inputs, *self.spec.outputs)]
        found = [node.name for node in (*self._session.get_inputs(), *self._session.get_outputs())]
        if sorted(described) != sorted(found):
            raise UserError(
                f"{bundle.path(self.spec.file)}: {name} has the tensors {', '.join(found)}, "
                f"the manifest says {', '.join(described)}; export again"
            )


def describe(threads: int | None) -> str:
    """Engine, version and threads, for people."""
    count = "a thread for each core" if threads is None else f"{threads} threads"
    return f"ONNX Runtime {onnxruntime.__version__} on the CPU, {count}"


def _open_session(bundle: Bundle, name: str, threads: int | None) -> onnxruntime.InferenceSession:
    path = bundle.path(bundle.graph(name).file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0: one for each physical core
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    except _LOAD_ERRORS as error:
        raise UserError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error}); "
            "install a newer onnxruntime or export again"
        ) from None
    assert session.get_providers() == [PROVIDER], session.get_providers()
    return session


def _placement(tensor: TensorSpec, array: Array) -> tuple[object, ...]:
    assert array.flags.c_contiguous, f"{tensor.name} is not contiguous"
    element = BFLOAT16 if tensor.dtype == "bfloat16" else array.dtype.type
    return tensor.name, "cpu", 0, element, array.shape, array.ctypes.data
