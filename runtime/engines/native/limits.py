"""What the machine can do at most, measured by the native library. It needs no bundle."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from runtime.engines.native.library import MachineLimits, load_library


class MachineRates(NamedTuple):
    """Of some threads together. None: not measured; see `slm_limits`."""

    read_bytes_per_second: float | None
    fp32_macs_per_second: float | None
    bf16_macs_per_second: float | None
    int8_macs_per_second: float | None


def measure_machine(threads: int) -> MachineRates:
    """Takes a second or two.

    Raises:
        UserError: there is no library, or the system gives it no memory.
    """
    limits = MachineLimits(size=ctypes.sizeof(MachineLimits))
    load_library().call("slm_measure_limits", threads, ctypes.byref(limits))
    return MachineRates(*(getattr(limits, name) or None for name in MachineRates._fields))
