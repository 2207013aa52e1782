"""TensorRT's two libraries. Only this file knows how they and their versions differ.

In: "tensorrt-rtx" or "tensorrt". Out: an imported library with the calls that building needs. It
knows nothing about models or bundles.

    tensorrt_rtx 1.7      strongly typed always; builds for listed GPUs on a machine without any
    tensorrt 10.3 … 10.x  strongly typed if asked; builds for the GPU that is there
    tensorrt 11           strongly typed always; builds for the GPU that is there
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import onnxruntime

from commands.errors import UserError
from runtime.bundle.names import BASIC, PORTABLE, TENSORRT
from runtime.engines.tensorrt.gpu_targets import GpuTarget
from runtime.engines.tensorrt.parsers import dialect_here, oldest_version, reads
from runtime.engines.tensorrt.plan_check import INSTALL, LIBRARIES, TITLES

# That a kernel may use while it is tried. By default it is all of a GPU's memory, and a Jetson has
# one memory for everything.
WORKSPACE_BYTES = 1 << 30
_IGNORED = ("Make sure input", "Make sure output")  # logged for every int64 tensor


@dataclass(frozen=True)
class Library:
    """An imported TensorRT module. There is one of each kind: the module keeps only one logger."""

    kind: str
    module: Any
    messages: list[str]  # errors, oldest first; each step clears them before it starts
    _logger: Any

    @property
    def version(self) -> str:
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{TITLES[self.kind]} {self.version}"

    @property
    def dialect(self) -> str:
        """The dialect of graphs that this version reads best, of those that can be checked here."""
        return dialect_here(self.kind, self.version, onnxruntime.__version__)

    @property
    def why_dialect(self) -> str:
        """Why it is this one, for people."""
        newest = oldest_version(PORTABLE)
        if self.dialect == PORTABLE:
            return f"{self.title} is {newest} or newer"
        if not reads(self.kind, self.version, PORTABLE):
            return f"{self.title} is before {newest}"
        return f"ONNX Runtime {onnxruntime.__version__} cannot check the portable one"

    def check_dialect(self, graphs: str, dialect: str) -> None:
        """Raise `UserError` if this version does not read a dialect. graphs: whose they are."""
        if not reads(self.kind, self.version, dialect):
            raise UserError(
                f"{graphs}: {self.title} does not know all operators of the {dialect} dialect, "
                f"which needs {oldest_version(dialect)} or newer; export the model with --dialect "
                f"{self.dialect}"
            )

    def new_builder(self) -> Any:
        return self.module.Builder(self._logger)

    def new_network(self, builder: Any) -> Any:
        """An empty network whose types are those of the ONNX file, whatever the version."""
        flags = self.module.NetworkDefinitionCreationFlag
        typed = getattr(flags, "STRONGLY_TYPED", None)
        return builder.create_network(0 if typed is None else 1 << int(typed))

    def new_parser(self, network: Any) -> Any:
        return self.module.OnnxParser(network, self._logger)

    def new_config(self, builder: Any, targets: Sequence[GpuTarget]) -> Any:
        """A build configuration for these GPUs. TensorRT takes the machine's GPU by itself."""
        config = builder.create_builder_config()
        if self.kind == TENSORRT:
            config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
        else:
            config.num_compute_capabilities = len(targets)
            for index, target in enumerate(targets):
                number = getattr(self.module.ComputeCapability, f"SM{target.sm}")
                assert config.set_compute_capability(number, index), target
        return config

    def last_error(self) -> str:
        """The last error message, without the library's source locations."""
        message = self.messages[-1] if self.messages else "no reason given"
        message = re.sub(r"^.*?: Error Code \d+: ", "", message)
        message = re.sub(r" ?In \w+ at /\S+", "", message)
        return re.sub(r"\[\w+\.(cpp|h):\d+: \w+\] ", "", message)


@cache
def open_library(kind: str) -> Library:
    """Import the module of `kind`.

    Raises:
        UserError: it is not installed, its own libraries are missing, or it is too old.
    """
    try:
        module: Any = importlib.import_module(LIBRARIES[kind])
    except (ImportError, OSError) as error:
        raise UserError(
            f"--target {kind}: {TITLES[kind]} cannot be imported ({error}); {INSTALL[kind]}"
        ) from None
    _check_age(kind, str(module.__version__))
    messages: list[str] = []
    return Library(kind, module, messages, _new_logger(module, messages))


def _check_age(kind: str, version: str) -> None:
    if not reads(kind, version, BASIC):
        raise UserError(
            f"--target {kind}: {TITLES[kind]} {version} is too old; it needs "
            f"{oldest_version(BASIC)} or newer (JetPack 6.1 on a Jetson)"
        )


def _new_logger(module: Any, messages: list[str]) -> Any:
    class Errors(module.ILogger):
        """Keeps error messages for the exception that follows."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= module.ILogger.ERROR and not message.startswith(_IGNORED):
                messages.append(message)

    return Errors()
