"""Runs a saved graph in ONNX Runtime and carries its states from call to call.

In: a folder, a `GraphSpec` and the inputs of one call. Out: the outputs that are not states.
It is for checks and tests. It does not know what a graph means. It is not made for speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from export.graph.half_session import open_session
from runtime.bundle.manifest import GraphSpec, TensorSpec, numpy_type
from runtime.bundle.names import CAPACITY, ROWS

Arrays = dict[str, npt.NDArray[Any]]

BFLOAT16 = 16  # ONNX's number for the type
ERRORS_ONLY = 3
# Otherwise ONNX Runtime rounds the inputs of INT4 products to 8 bits, which the graph does not say.
EXACT_INPUTS = ("session.qdq_matmulnbits_accuracy_level", "1")


class GraphRunner:
    """One graph and its states, for `rows` rows a call.

    capacity: room of its KV cache in positions, if the graph does not fix it. watched: values
    inside the graph that `run` also returns.
    """

    def __init__(
        self,
        folder: Path,
        spec: GraphSpec,
        capacity: int = 1,
        threads: int = 1,
        watched: Sequence[str] = (),
        rows: int = 1,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = ERRORS_ONLY
        options.add_session_config_entry(*EXACT_INPUTS)
        self.spec, self._watched = spec, tuple(watched)
        self._sizes = {CAPACITY: capacity, ROWS: rows}
        self._session = open_session(folder / spec.file, options, watched)
        self.reset()

    def reset(self) -> None:
        """Set all states to zero."""
        past = {state.input for state in self.spec.states}
        self._states = {
            tensor.name: self._zeros(tensor) for tensor in self.spec.inputs if tensor.name in past
        }

    def take_row(self, row: int, other: GraphRunner) -> None:
        """Copy the states of the first row of `other`, a runner of the same graph, into `row`."""
        for name, state in self._states.items():
            states = np.array(state.numpy())
            states[row] = other._states[name].numpy()[0]
            state.update_inplace(states)

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Run once and keep the states. States marked `in_place` stay in the same memory."""
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array))
        for name, value in self._states.items():
            binding.bind_ortvalue_input(name, value)
        in_place = {state.output: state.input for state in self.spec.states if state.in_place}
        for tensor in self.spec.outputs:
            if tensor.name in in_place:
                binding.bind_ortvalue_output(tensor.name, self._states[in_place[tensor.name]])
            else:
                binding.bind_output(tensor.name)
        for name in self._watched:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        names = [*(tensor.name for tensor in self.spec.outputs), *self._watched]
        outputs = dict(zip(names, binding.get_outputs(), strict=True))
        for state in self.spec.states:
            present = outputs.pop(state.output)
            if not state.in_place:  # the old handle owns the memory of the others
                self._states[state.input] = present
        return {name: value.numpy() for name, value in outputs.items()}

    def _zeros(self, tensor: TensorSpec) -> onnxruntime.OrtValue:
        shape = [self._sizes[size] if isinstance(size, str) else size for size in tensor.shape]
        zeros = np.zeros(shape, numpy_type(tensor.dtype))
        if tensor.dtype == "bfloat16":
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(zeros, BFLOAT16)
        return onnxruntime.OrtValue.ortvalue_from_numpy(zeros)
