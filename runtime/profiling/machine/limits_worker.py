"""`python -m runtime.profiling.machine.limits_worker THREADS BY`: what a machine can do at most.

In: a number of threads, for which whoever starts this has set BLAS's variables, and what measures:
the native engine's library, or numpy. Out: a line of JSON with fields of `Limits`. What numpy reads
has twice the size of the caches, at least 256 MB, but at most a quarter of the memory that is free.
Where that would lie in caches, reading is not measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NATIVE_ENGINE, NUMPY = "native engine", "numpy"  # what measures
USUAL_BYTES, MOST_BYTES = 256 * 2**20, 2**30
USUAL_CACHE_BYTES = 32 * 2**20  # where the system does not say
SIZE = 768  # of the matrices: rows, columns and inputs
ROUNDS = 8
_MEMORY = Path("/proc/meminfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def free_bytes() -> int | None:
    """Memory that programs can still have; None if the system does not say."""
    try:
        lines = _MEMORY.read_text("ascii").splitlines()
    except OSError:  # not Linux
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def cache_bytes() -> int:
    """The largest cache of a processor."""
    sizes = [path.read_text("ascii").strip() for path in _CACHES.glob("index*/size")]
    known = [1024 * int(size.removesuffix("K")) for size in sizes if size.endswith("K")]
    return max(known, default=USUAL_CACHE_BYTES)


def choose_bytes(free: int | None, cache: int) -> int | None:
    """How much to read; None if there is not enough memory to leave the caches."""
    wanted = min(max(USUAL_BYTES, 2 * cache), MOST_BYTES)
    size = wanted if free is None else min(wanted, free // 4)
    return size if size >= 2 * cache else None


def measure_reading(threads: int, size_bytes: int) -> float:
    """Bytes a second, with a slice for each thread. numpy lets them run at the same time."""
    data = np.ones(size_bytes // 8, np.int64)
    slices = np.array_split(data, threads)
    with ThreadPoolExecutor(threads) as pool:
        return data.nbytes / _fastest(lambda: _read_all(pool, slices))


def _read_all(pool: ThreadPoolExecutor, slices: Sequence[NDArray[np.int64]]) -> None:
    for _ in pool.map(np.bitwise_or.reduce, slices):
        pass


def measure_products() -> float:
    """Multiply-adds a second, by BLAS with its own threads."""
    a, b = (np.ones((SIZE, SIZE), np.float32) for _ in range(2))
    out = np.empty_like(a)
    return SIZE**3 / _fastest(lambda: np.matmul(a, b, out=out))


def _fastest(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure_by_numpy(threads: int) -> dict[str, float | None]:
    """numpy has no products of bfloat16 and int8 that a processor's own would be compared with."""
    size_bytes = choose_bytes(free_bytes(), cache_bytes())
    return {
        "read_bytes_per_second": size_bytes and measure_reading(threads, size_bytes),
        "fp32_macs_per_second": measure_products(),
    }


def measure_by_library(threads: int) -> dict[str, float | None]:
    from runtime.engines.native.limits import measure_machine

    return measure_machine(threads)._asdict()


def main(argv: Sequence[str]) -> int:
    threads, measured_by = argv
    measure = measure_by_numpy if measured_by == NUMPY else measure_by_library
    print(json.dumps(measure(int(threads)) | {"cache_bytes": cache_bytes()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
