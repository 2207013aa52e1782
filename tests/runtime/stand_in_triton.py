"""A stand-in for `triton_python_backend_utils`, which only Triton's own processes have.

In: what a model sends. Out: the same, kept in the order in which it was sent. It has what
`runtime.triton_model` uses and behaves as the backend is documented: a response carries tensors or
an error, a request is over when a flag says so, and nothing may be sent behind that.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1


class TritonError:
    INTERNAL, INVALID_ARG, UNAVAILABLE, CANCELLED = 1, 3, 4, 7

    def __init__(self, message: str, code: int) -> None:
        self.message, self.code = message, code


class Tensor:
    def __init__(self, name: str, values: NDArray[Any]) -> None:
        self.name, self._values = name, values

    def as_numpy(self) -> NDArray[Any]:
        return self._values


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor] = field(default_factory=list)
    error: TritonError | None = None

    def values(self, name: str) -> NDArray[Any]:
        return next(one.as_numpy() for one in self.output_tensors if one.name == name)


class Sender:
    """What a request was answered."""

    def __init__(self) -> None:
        self.responses: list[InferenceResponse] = []
        self.has_first = threading.Event()
        self.has_ended = threading.Event()
        self.has_left = False

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        assert not self.has_ended.is_set(), "nothing follows the end"
        if response is not None:
            self.responses.append(response)
            self.has_first.set()
        if flags == TRITONSERVER_RESPONSE_COMPLETE_FINAL:
            self.has_ended.set()

    def is_cancelled(self) -> bool:
        return self.has_left


class Request:
    """inputs: by name; a text as its bytes."""

    def __init__(self, **inputs: Any) -> None:
        self.inputs = {name: _array(value) for name, value in inputs.items()}
        self.sender = Sender()

    def get_response_sender(self) -> Sender:
        return self.sender


def get_input_tensor_by_name(request: Request, name: str) -> Tensor | None:
    return Tensor(name, request.inputs[name]) if name in request.inputs else None


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    return np.array([value], np.object_ if isinstance(value, bytes) else np.uint64)
