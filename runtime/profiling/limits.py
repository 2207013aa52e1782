"""What the machine can do at most: the limits that an engine's times are compared with.

In: a number of threads. Out: how fast memory is read, and how many multiply-adds a second there
are. The native library measures best; where there is none, numpy does. It knows no bundles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from commands.errors import UserError
from runtime.engines.native.places import find_library
from runtime.profiling.machine import limits_worker
from runtime.profiling.machine.limits_worker import NATIVE_ENGINE, NUMPY
from runtime.profiling.report import Limits

GPU_COPIES = "GPU copies"
# How many threads BLAS takes is read when numpy is imported: hence a process of its own.
_BLAS_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def measure_limits(threads: int) -> Limits:
    """The limits of so many threads, in about 2 seconds. Nobody else should use the machine.

    They are measured by a process of its own, whose memory is not this one's.

    Raises:
        UserError: a library of another version, or a process that fails.
    """
    if threads < 1:
        raise UserError(f"threads is {threads}; give 1 or more")
    measured_by = NUMPY if find_library() is None else NATIVE_ENGINE
    command = [sys.executable, "-m", limits_worker.__name__, str(threads), measured_by]
    environment = os.environ | dict.fromkeys(_BLAS_VARIABLES, str(threads))
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"the machine's limits cannot be measured by {measured_by}: {told}")
    return Limits(threads=threads, measured_by=measured_by, **json.loads(done.stdout))


def measure_gpu_limits() -> Limits:
    """How fast the GPU copies its own memory, bytes read and written together.

    Raises:
        UserError: no cuda-python, no driver, no GPU, or no memory on it.
    """
    from runtime.engines.tensorrt.this_gpu import require_gpu

    require_gpu()
    from runtime.engines.tensorrt.memory import measure_bandwidth

    return Limits(threads=1, read_bytes_per_second=measure_bandwidth(), measured_by=GPU_COPIES)
