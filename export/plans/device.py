"""The GPU of this machine, which TensorRT builds for, as the driver describes it.

In: nothing. Out: a name and a compute capability. It needs only the driver's library.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from commands.errors import UserError
from runtime.engines.tensorrt.gpu_driver import DRIVER_LIBRARY

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NAME_BYTES = 256


@dataclass(frozen=True)
class Device:
    """name: for people. compute_capability: "8.7"."""

    name: str
    compute_capability: str


def find_device() -> Device:
    """The first GPU. Raises `UserError` if there is no driver or no GPU."""
    try:
        driver: Any = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        raise UserError(
            f"TensorRT builds on the GPU that it builds for, and {DRIVER_LIBRARY} of its driver is "
            "missing; run this on the device, or build for --target tensorrt-rtx, which needs none"
        ) from None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    _check(driver.cuInit(0), "cuInit")
    _check(driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _check(driver.cuDeviceGetName(name, _NAME_BYTES, device), "cuDeviceGetName")
    major, minor = (_attribute(driver, device, attribute) for attribute in (_MAJOR, _MINOR))
    return Device(name.value.decode(), f"{major}.{minor}")


def _attribute(driver: Any, device: ctypes.c_int, attribute: int) -> int:
    value = ctypes.c_int()
    _check(
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "cuDeviceGetAttribute"
    )
    return value.value


def _check(result: int, call: str) -> None:
    if result != 0:
        raise UserError(f"{call} of the NVIDIA driver fails with error {result}: is there a GPU?")
