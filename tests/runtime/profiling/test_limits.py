"""What the machine can do at most: by the native library, by numpy, and by copies on a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from commands.errors import UserError
from runtime.profiling import limits
from runtime.profiling.limits import measure_gpu_limits, measure_limits
from runtime.profiling.machine import limits_worker

MIB = 2**20
# From a slow core to a large server, and less than a byte or a product could be.
SLOWEST, FASTEST = 1e6, 1e15


def test_the_library_measures(native_library: Path) -> None:
    found = measure_limits(1)
    assert found.measured_by == "native engine"
    assert found.threads == 1
    rates = [found.read_bytes_per_second, found.fp32_macs_per_second, found.int8_macs_per_second]
    assert all(rate is None or SLOWEST < rate < FASTEST for rate in rates)
    assert found.fp32_macs_per_second is not None, "every processor has them"
    assert found.cache_bytes is not None
    assert found.cache_bytes >= 16 * 1024


def test_numpy_measures_where_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "find_library", lambda: None)
    found = measure_limits(2)
    assert found.measured_by == "numpy"
    assert found.threads == 2
    assert found.fp32_macs_per_second is not None
    assert SLOWEST < found.fp32_macs_per_second < FASTEST
    assert found.bf16_macs_per_second is None
    assert found.int8_macs_per_second is None


def test_a_process_that_fails_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "find_library", lambda: None)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="cannot be measured by numpy: it said nothing"):
        measure_limits(1)


def test_no_threads_are_refused() -> None:
    with pytest.raises(UserError, match="threads is 0; give 1 or more"):
        measure_limits(0)


@pytest.mark.parametrize(
    ("free", "cache", "chosen"),
    [
        (None, 32 * MIB, 256 * MIB),
        (24_000 * MIB, 32 * MIB, 256 * MIB),
        (400 * MIB, 1 * MIB, 100 * MIB),
        (24_000 * MIB, 300 * MIB, 600 * MIB),
        (200 * MIB, 32 * MIB, None),
        (24_000 * MIB, 600 * MIB, None),
    ],
)
def test_what_is_read_leaves_the_caches(free: int | None, cache: int, chosen: int | None) -> None:
    assert limits_worker.choose_bytes(free, cache) == chosen


def test_every_slice_is_read() -> None:
    assert SLOWEST < limits_worker.measure_reading(3, 4 * MIB) < FASTEST


def test_a_gpu_copies(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's memory is smaller than what is copied on a GPU, and its clock is its own."""
    from runtime.engines.tensorrt import memory

    measure = memory.measure_bandwidth
    monkeypatch.setattr(memory, "measure_bandwidth", lambda: measure(4_096, 3))
    found = measure_gpu_limits()
    assert found.measured_by == "GPU copies"
    assert found.read_bytes_per_second is not None
    assert found.read_bytes_per_second > 0
    assert found.fp32_macs_per_second is None
