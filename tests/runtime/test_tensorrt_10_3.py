"""The Python module of TensorRT 10.3 (JetPack 6) has every name that this project's code uses.

The module cannot be imported without TensorRT's libraries, which come with the device, but its
bindings are a package of their own. Names of classes, methods and values stand in the compiled
file.
"""

from __future__ import annotations

import ast
import importlib.metadata
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

trt = pytest.importorskip("tensorrt_rtx")

BINDINGS, VERSION = "tensorrt-cu12-bindings", "10.3.0"
ROOT = Path(__file__).parents[2]
USERS = [
    "runtime/engines/tensorrt/plans.py",
    "export/plans/library.py",
    "export/plans/network.py",
    "export/plans/plans.py",
]
# Of TensorRT-RTX: where they are used, the code asks for the kind of library first.
ONLY_RTX = {
    "ComputeCapability",
    "DynamicShapesKernelSpecializationStrategy",
    "EAGER",
    "LAZY",
    "REQUIRE_USER_ALLOCATION",
    "create_runtime_config",
    "dynamic_shapes_kernel_specialization_strategy",
    "num_compute_capabilities",
    "set_compute_capability",
    "set_execution_context_allocation_strategy",
}
PYTHONS = {"write"}  # a name of files too


def names_of(module: types.ModuleType) -> set[str]:
    """All names of the module, of its classes and of their values."""
    found = set()
    for name, thing in vars(module).items():
        found.add(name)
        found |= set(vars(thing)) if isinstance(thing, type) else set()
    return {name for name in found if not name.startswith("_")}


def used_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr


@pytest.fixture(scope="module")
def bindings() -> bytes:
    try:
        distribution = importlib.metadata.distribution(BINDINGS)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{BINDINGS} is not installed")
    assert distribution.version == VERSION
    (file,) = [file for file in distribution.files or () if file.name == "tensorrt.so"]
    return Path(str(file.locate())).read_bytes()


def test_what_is_used_is_there(bindings: bytes) -> None:
    used = {name for user in USERS for name in used_names(ROOT / user)} & names_of(trt)
    assert len(used) > 40, "the code's names were not found"
    missing = {name for name in used - PYTHONS if f"{name}\0".encode() not in bindings}
    assert missing == ONLY_RTX


def test_what_came_later_is_not_there(bindings: bytes) -> None:
    """The search does tell: the question for aliases, which is asked of newer versions only."""
    assert b"get_aliased_input_tensor\0" not in bindings
