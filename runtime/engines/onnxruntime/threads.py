"""How many threads each graph of a bundle gets on the CPU.

In: a bundle, and the number that the user asked for, if any. Out: a number for each graph. It
knows which processors this process may use, but no engine.

Graphs that take many positions at a time (the codec's) share their work well. A step reads every
weight once, and sharing it out costs about 10 µs for each operator: graphs whose weights are small
are faster on one thread (docs/performance.md). Other programs are not taken into account: they
change after loading, and threads that sleep while they wait lose nothing to busy neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle.loading import Bundle
from runtime.bundle.names import CODEC_DECODER, CODEC_ENCODER

MANY_POSITIONS = (CODEC_DECODER, CODEC_ENCODER)
LARGE_WEIGHTS_BYTES = 64 * 2**20  # measured: 1.1 × slower below, 1.2 to 1.3 × faster above
MAX_DEFAULT_THREADS = 8  # more were not measured: memory limits the reading of weights before that
ENGINES_CHOICE = 0  # ONNX Runtime: a thread for each physical core

_CPU_FOLDER = Path("/sys/devices/system/cpu")
_CGROUP_FOLDER = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Threads:
    """Numbers of threads: for graphs that share their work well, and for small ones.

    asked_for: the number that the user gave, if this process cannot use so many.
    """

    large: int
    small: int
    asked_for: int | None = None

    def of(self, bundle: Bundle, name: str) -> int:
        """For the graph called `name`."""
        return self.large if _shares_well(bundle, name) else self.small

    def __str__(self) -> str:
        if self.large == ENGINES_CHOICE:
            return "a thread for each core, 1 for small graphs"
        said = f"{self.large} threads"
        if self.asked_for is not None:
            return f"{said} instead of {self.asked_for}: this process may use no more"
        return said if self.large == self.small else f"{said}, {self.small} for small graphs"


def choose_threads(asked_for: int | None) -> Threads:
    """The number that the user asks for, at most the processors. None takes the fastest number."""
    processors = usable_processors()
    if asked_for is not None:
        bound = min(asked_for, len(processors), whole_processors(cpu_quota()))
        return Threads(bound, bound, asked_for if bound < asked_for else None)
    cores = count_cores(processors)
    if cores is None:
        return Threads(ENGINES_CHOICE, 1)
    return Threads(min(cores, whole_processors(cpu_quota()), MAX_DEFAULT_THREADS), 1)


def usable_processors() -> list[int]:
    """The logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))  # macOS and Windows


def count_cores(processors: Iterable[int]) -> int | None:
    """Physical cores of logical processors; None if the system does not say."""
    siblings = (_CPU_FOLDER / f"cpu{n}/topology/thread_siblings_list" for n in processors)
    try:
        return len({path.read_text() for path in siblings})
    except OSError:
        return None


def whole_processors(quota: float) -> int:
    """Threads that a quota lets run all of the time: beyond it all of them are stopped at once."""
    return max(1, int(min(quota, 2**16)))


def cpu_quota() -> float:
    """Processors' worth of time that the control groups of this process allow; else infinity."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return float("inf")
    return min((_group_quota(line) for line in lines), default=float("inf"))


def _group_quota(line: str) -> float:
    """The least quota of a group, named as in /proc/self/cgroup, and of those that hold it."""
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return float("inf")
    root = _CGROUP_FOLDER / controllers  # version 2 has one tree, and no name for it
    group = root / path.lstrip("/")
    folders = [group, *(parent for parent in group.parents if parent.is_relative_to(root))]
    return min(_folder_quota(folder) for folder in {*folders, root})


def _folder_quota(folder: Path) -> float:
    try:
        if (folder / "cpu.max").is_file():  # version 2: "150000 100000", or "max 100000"
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else float("inf")
    except (OSError, ValueError, ZeroDivisionError):  # no such group in this mount, or no limit
        return float("inf")


def _shares_well(bundle: Bundle, name: str) -> bool:
    spec, files = bundle.graph(name), bundle.manifest.files
    stored = sum(files[file].size_bytes for file in (spec.file, spec.weights) if file)
    return name in MANY_POSITIONS or stored >= LARGE_WEIGHTS_BYTES
