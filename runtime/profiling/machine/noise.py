"""What else the machine did while something was measured, so that nobody trusts a disturbed figure.

In: counters of the operating system before and after, and a fixed piece of work that is timed now
and then. Out: shares, and warnings for people. Where the system has no such counters (they are
Linux's), the figure is None. It judges; it corrects nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from runtime.engines.onnxruntime.threads import usable_processors
from runtime.profiling.report import Noise

OTHERS_LIMIT, STOLEN_LIMIT, CLOCK_LIMIT = 0.05, 0.02, 0.8
BUSY_PROCESS = 0.2  # of a processor: named
MOST_NAMED = 3
_PROC = Path("/proc")
_THROTTLED = "devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"
_FIXED_WORK, _WARM_UP = 40_000, 8
_KERNEL_THREADS = 2  # the number of their parent


@dataclass(frozen=True)
class Counters:
    """Seconds of all processors together since the start of the system; None: not known.

    busy: without idle time and without what the host gave to other machines. own: of this process
    and its ended children. by_process: seconds of every other process, by number and name.
    """

    wall: float
    busy: float | None = None
    stolen: float | None = None
    own: float = 0.0
    throttled: int | None = None
    by_process: dict[tuple[int, str], float] = field(default_factory=dict)


class NoiseMonitor:
    """Watches from when it is made until `finish`."""

    def __init__(self) -> None:
        self._before = read_counters()
        self._clocks: list[float] = []
        for _ in range(_WARM_UP):  # the interpreter makes a loop faster while it runs
            _time_fixed_work()
        self.check_clock()

    def check_clock(self) -> None:
        """Time the fixed work, between measurements. The best of three: others may interrupt it."""
        self._clocks.append(min(_time_fixed_work() for _ in range(3)))

    def finish(self) -> Noise:
        """What happened."""
        self.check_clock()
        slowest = min(self._clocks) / max(self._clocks)
        return judge(self._before, read_counters(), slowest, len(usable_processors()))


def judge(before: Counters, after: Counters, slowest_clock: float, processors: int) -> Noise:
    """The figures, and what to say of them."""
    wall = max(after.wall - before.wall, 1e-9)
    own = after.own - before.own
    busy = _difference(after.busy, before.busy)
    stolen = _difference(after.stolen, before.stolen)
    throttled = _difference(after.throttled, before.throttled)
    noise = Noise(
        others_share=None if busy is None else max(0.0, busy - own) / (wall * processors),
        stolen_share=None if stolen is None else stolen / (wall * processors),
        slowest_clock=slowest_clock,
        throttled=None if throttled is None else int(throttled),
        busiest_others=_find_busiest(before, after, wall),
    )
    return msgspec.structs.replace(noise, warnings=tuple(_list_warnings(noise, processors)))


def _list_warnings(noise: Noise, processors: int) -> Iterator[str]:
    if noise.others_share is not None and noise.others_share > OTHERS_LIMIT:
        named = ", chiefly " + ", ".join(noise.busiest_others) if noise.busiest_others else ""
        yield (
            f"Other programs took {noise.others_share * processors:.1f} of {processors} "
            f"processors{named}: end them and measure again."
        )
    if noise.stolen_share is not None and noise.stolen_share > STOLEN_LIMIT:
        yield (
            f"The host of this virtual machine gave {noise.stolen_share:.0%} of its processors' "
            "time to others: measure again, and compare only what was measured in turn."
        )
    if noise.slowest_clock < CLOCK_LIMIT:
        yield (
            "The processor's speed changed: a fixed piece of work ran at "
            f"{noise.slowest_clock:.0%} of its best speed at times. Fix the frequency, or compare "
            "only what was measured in turn."
        )
    if noise.throttled:
        yield (
            f"The processor slowed itself down {noise.throttled} times, being too hot: cool it, "
            "and measure again."
        )


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _find_busiest(before: Counters, after: Counters, wall: float) -> tuple[str, ...]:
    shares = {
        process: (seconds - before.by_process.get(process, 0.0)) / wall
        for process, seconds in after.by_process.items()
    }
    busiest = sorted(shares, key=lambda process: -shares[process])[:MOST_NAMED]
    return tuple(
        f"{name} (process {number}: {shares[number, name]:.0%} of a processor)"
        for number, name in busiest
        if shares[number, name] > BUSY_PROCESS
    )


def _time_fixed_work() -> float:
    start = time.perf_counter()
    total = 0
    for number in range(_FIXED_WORK):
        total += number
    return time.perf_counter() - start


# Linux.


def read_counters() -> Counters:
    """The counters of this moment."""
    own = sum(os.times()[:4])
    wall = time.monotonic()
    try:
        words = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
        ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in words]
    except (OSError, ValueError):
        return Counters(wall, own=own)
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = ticks[:8]
    busy = user + nice + system + interrupts + soft
    return Counters(wall, busy, stolen, own, _count_throttled(), _read_processes())


def _count_throttled() -> int | None:
    counts = []
    for path in Path("/sys").glob(_THROTTLED):
        with suppress(OSError, ValueError):
            counts.append(int(path.read_text()))
    return sum(counts) if counts else None


def _read_processes() -> dict[tuple[int, str], float]:
    """Seconds of each other program. Those that end meanwhile are left out, and threads of the
    kernel, whose time is somebody else's."""
    found = {}
    for folder in _PROC.glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        with suppress(OSError, ValueError, IndexError):
            name, _, rest = (folder / "stat").read_text().partition(" (")[2].rpartition(") ")
            fields = rest.split()
            if int(fields[1]) == _KERNEL_THREADS:
                continue
            ticks = int(fields[11]) + int(fields[12])
            found[int(folder.name), name] = ticks / os.sysconf("SC_CLK_TCK")
    return found
