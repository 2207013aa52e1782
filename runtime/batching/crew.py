"""Workers, wherever they are, and how jobs are dealt to them.

In: jobs, the longest first, and a crew. Out: a result for each job, in the order in which they are
done. If a worker dies, its jobs are spoken again, each of them alone in a worker; a job that kills
this one too has failed, and only this job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runtime.batching.results import Job, Spoken

SECONDS_BETWEEN_LOOKS = 0.2  # at whether to stop


@dataclass(frozen=True)
class Ready:
    """A worker has loaded its bundle. description: what runs it, in words."""

    description: str


@dataclass(frozen=True)
class Death:
    """A worker has ended, and another one with its number is being started. reason: in words."""

    reason: str


News = tuple[int, Ready | Death | Spoken]  # of a worker


class Crew(Protocol):
    """workers: how many there are, numbered from 0. jobs: how many each should have at a time. A
    worker gets jobs when it is ready."""

    workers: int
    jobs: int

    def send(self, worker: int, job: Job) -> None:
        """Give a worker a job. It does not wait."""

    def receive(self, seconds: float) -> Sequence[News]:
        """What has happened since; waits for it no longer than this.

        Raises:
            UserError: a worker could not begin.
        """


@dataclass
class _Hand:
    """jobs: that a worker has, by id. is_alone: it has one that may kill it."""

    is_ready: bool = False
    jobs: dict[str, Job] = field(default_factory=dict)
    is_alone: bool = False


def speak_all(
    jobs: Sequence[Job],
    crew: Crew,
    must_stop: Callable[[], bool],
    tell: Callable[[str], None],
) -> Iterator[tuple[Job, Spoken]]:
    """Speak all jobs, the first ones first, or leave off when `must_stop` says so. tell: is
    told once what runs the bundle."""
    waiting, suspects = deque(jobs), deque[Job]()
    hands, is_told = [_Hand() for _ in range(crew.workers)], False
    while waiting or suspects or any(hand.jobs for hand in hands):
        if must_stop():
            return
        for worker, hand in enumerate(hands):
            for job in _deal(hand, waiting, suspects, crew.jobs):
                hand.jobs[job.id] = job
                crew.send(worker, job)
        for worker, news in crew.receive(SECONDS_BETWEEN_LOOKS):
            hand = hands[worker]
            if isinstance(news, Spoken):
                yield hand.jobs.pop(news.id), news
            elif isinstance(news, Ready):
                hand.is_ready = True
                if not is_told:
                    tell(news.description)
                is_told = True
            else:
                yield from _bury(hand, suspects, news)


def _bury(hand: _Hand, suspects: deque[Job], death: Death) -> Iterator[tuple[Job, Spoken]]:
    """The jobs of a worker that has died: one that was alone in it has failed."""
    for job in hand.jobs.values():
        if hand.is_alone:
            yield job, Spoken(job.id, error=f"its worker ended twice: {death.reason}")
        else:
            suspects.append(job)
    hand.jobs.clear()
    hand.is_ready = False


def _deal(hand: _Hand, waiting: deque[Job], suspects: deque[Job], most: int) -> list[Job]:
    """What a worker gets now. Suspects come last, one at a time."""
    if not hand.is_ready:
        return []
    if not hand.jobs:
        hand.is_alone = not waiting and bool(suspects)
        if hand.is_alone:
            return [suspects.popleft()]
    if hand.is_alone:
        return []
    return [waiting.popleft() for _ in range(min(len(waiting), most - len(hand.jobs)))]
