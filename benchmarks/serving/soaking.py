"""Requests that are whole, cancelled, slow or garbage, each compared with what it is alone.

In: a target, and what each text sounds like while nobody else is spoken to. Out: counts of what
happened, and a line for each request that was not as it must be.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

import numpy as np

from benchmarks.serving.asking import Ask
from benchmarks.serving.targets import Broken, Refused, Rejected, Target

REFUSED_SECONDS = 0.05  # before a refused listener asks again
PATIENCE = 2_000  # times it does so


class Kind(Enum):
    """SLOW: takes each piece no sooner than it would have played the one before."""

    WHOLE = "whole"
    CANCELLED = "cancelled"
    SLOW = "slow"
    GARBAGE = "garbage"


SHARES = {Kind.WHOLE: 0.70, Kind.CANCELLED: 0.20, Kind.SLOW: 0.05, Kind.GARBAGE: 0.05}


@dataclass(frozen=True)
class Alone:
    """digest: of a text's audio. begins: of its first 0, `every`, 2 · `every` … bytes."""

    ask: Ask
    audio_bytes: int
    digest: bytes
    every: int
    begins: dict[int, bytes]


@dataclass(frozen=True)
class Request:
    """leaves_after: bytes, of one that is cancelled."""

    number: int
    kind: Kind
    alone: Alone
    leaves_after: int = 0


@dataclass
class Results:
    """counts: by kind, and of refusals. wrong: a line each."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    audio_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def make_requests(random: np.random.Generator, known: Sequence[Alone], count: int) -> list[Request]:
    """Of each kind as many as `SHARES` says, in the mean."""
    drawn = random.choice(len(SHARES), count, p=list(SHARES.values()))
    requests = []
    for number, kind in enumerate([*SHARES][index] for index in drawn):
        alone = known[int(random.integers(len(known)))]
        after = int(random.integers(alone.audio_bytes)) if kind is Kind.CANCELLED else 0
        requests.append(Request(number, kind, alone, after))
    return requests


def listen_alone(target: Target, ask: Ask, every: int) -> Alone:
    """What a text sounds like."""
    audio = b"".join(target.speak(ask))
    sizes = range(0, len(audio) + 1, every)
    begins = {size: sha256(audio[:size]).digest() for size in sizes}
    return Alone(ask, len(audio), sha256(audio).digest(), every, begins)


def soak(
    target: Target,
    requests: Iterable[Request],
    listeners: int,
    on_request: Callable[[int], None],
    must_stop: Callable[[], bool] = lambda: False,
) -> Results:
    """So many listeners at a time. on_request: told how many requests have ended. must_stop: begin
    no more of them; those that have begun are heard to their end, so the first ones are done."""
    results = Results()
    left = iter(requests)

    def listen() -> None:
        while True:
            with results.lock:
                request = None if must_stop() else next(left, None)
            if request is None:
                return
            wrong = _listen(target, request, results)
            with results.lock:
                results.counts[request.kind.value] += 1
                if wrong:
                    results.wrong.append(f"request {request.number}, {request.kind.value}: {wrong}")
                on_request(sum(results.counts[kind.value] for kind in Kind))

    threads = [threading.Thread(target=listen, daemon=True) for _ in range(listeners)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _listen(target: Target, request: Request, results: Results) -> str:
    """What was wrong, in words."""
    for _ in range(PATIENCE):
        try:
            if request.kind is Kind.GARBAGE:
                target.garbage(request.number)
                return "it was not rejected"
            return _compare(target, request, results)
        except Refused:
            with results.lock:
                results.counts["refused"] += 1
            time.sleep(REFUSED_SECONDS)
        except Rejected as error:
            return "" if request.kind is Kind.GARBAGE else f"rejected: {error}"
        except Broken as error:
            return f"broken: {error}"
    return f"refused {PATIENCE} times"


def _compare(target: Target, request: Request, results: Results) -> str:
    """Audio is not kept: it would take more memory than what is being watched."""
    alone, taken, digest = request.alone, 0, sha256()
    begin = (0, sha256().digest())  # the longest beginning whose digest is known
    with closing(target.speak(alone.ask)) as pieces:
        for piece in pieces:
            for part in _parts(piece, taken, alone.every):
                digest.update(part)
                taken += len(part)
                if taken % alone.every == 0:
                    begin = (taken, digest.digest())
            if request.kind is Kind.CANCELLED and taken > request.leaves_after:
                break
            if request.kind is Kind.SLOW:
                time.sleep(len(piece) / target.bytes_per_second)
    with results.lock:
        results.audio_bytes += taken
    if request.kind is not Kind.CANCELLED:
        return "" if digest.digest() == alone.digest else "it sounds unlike alone"
    size, found = begin
    return "" if alone.begins.get(size) == found else f"its first {size} bytes are unlike alone"


def _parts(piece: bytes, taken: int, every: int) -> Iterator[bytes]:
    """Cut where `every` bytes of the whole end."""
    first = every - taken % every
    yield piece[:first]
    for start in range(first, len(piece), every):
        yield piece[start : start + every]
