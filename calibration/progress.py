"""What a calibration is doing, for people: one line a stage, with the seconds it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(name: str) -> Iterator[Callable[[str], None]]:
    """Print `name`, whatever the body says through what is yielded, and the seconds at its end."""
    started = time.perf_counter()
    print(f"{name} ...", end=" ", flush=True)
    try:
        yield lambda text: print(text, end="", flush=True)
    except BaseException:
        print(flush=True)  # end the line: an error message follows
        raise
    print(f"{time.perf_counter() - started:.1f} s", flush=True)
