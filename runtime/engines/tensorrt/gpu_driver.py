"""Asks the driver whether there is an NVIDIA GPU, before anything is installed for it.

In: nothing. Out: the number of GPUs, or one line that says what is missing. Needs the standard
library only.
"""

from __future__ import annotations

import ctypes
import sys

from commands.errors import UserError

DRIVER_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_SUCCESS, _NO_DEVICE = 0, 100  # CUresult


def count_gpus(library: str = DRIVER_LIBRARY) -> int:
    """How many GPUs the driver shows, at least one.

    Raises:
        UserError: no driver, one that does not start, or no GPU.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        raise UserError(
            f"no NVIDIA driver is here ({library} is missing), so there is no GPU to check; "
            "install the driver (in a container: run it with --gpus all)"
        ) from None
    started, count = driver.cuInit(0), ctypes.c_int(0)
    if started == _SUCCESS:
        started = driver.cuDeviceGetCount(ctypes.byref(count))
    if started == _NO_DEVICE or (started == _SUCCESS and count.value < 1):
        raise UserError("no NVIDIA GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES")
    if started != _SUCCESS:
        raise UserError(
            f"the NVIDIA driver does not start (CUDA error {started}); check nvidia-smi, and "
            "install the driver anew or restart the machine"
        )
    return count.value
