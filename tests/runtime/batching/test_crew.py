"""Jobs are dealt to workers, and workers die: every job has its result, and only culprits fail."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from runtime.batching.crew import Death, News, Ready, speak_all
from runtime.batching.results import Job, Spoken

JOBS = [Job(str(number), "a" * (20 - number), None, 1) for number in range(20)]


class ScriptedCrew:
    """Speaks a job a call, the oldest first. Jobs named in `deadly` kill their worker so often."""

    def __init__(self, workers: int, jobs: int, deadly: dict[str, int]) -> None:
        self.workers, self.jobs = workers, jobs
        self.most = 0
        self.begun: Counter[str] = Counter()
        self._deadly = Counter(deadly)
        self._ready: set[int] = set()
        self._given: list[deque[Job]] = [deque() for _ in range(workers)]

    def send(self, worker: int, job: Job) -> None:
        assert worker in self._ready
        self._given[worker].append(job)
        self.most = max(self.most, len(self._given[worker]))

    def receive(self, seconds: float) -> Sequence[News]:
        news: list[News] = []
        for worker, given in enumerate(self._given):
            if worker not in self._ready:
                self._ready.add(worker)
                news.append((worker, Ready("scripted")))
            elif given:
                job = given.popleft()
                self.begun[job.id] += 1
                if self._deadly[job.id]:
                    self._deadly[job.id] -= 1
                    given.clear()
                    self._ready.discard(worker)
                    news.append((worker, Death("signal SIGKILL")))
                else:
                    news.append((worker, Spoken(job.id, job.text.encode())))
        return news


def test_all_jobs_are_spoken_in_order() -> None:
    told: list[str] = []
    crew = ScriptedCrew(2, 3, {})
    spoken = [job.id for job, _ in speak_all(JOBS, crew, lambda: False, told.append)]
    assert sorted(spoken, key=int) == [job.id for job in JOBS]
    assert crew.most == 3
    assert told == ["scripted"]
    assert {*spoken[:4]} == {"0", "1", "3", "4"}, "each worker took the longest that were left"


def test_a_death_costs_nobody_else_anything() -> None:
    told: list[str] = []
    crew = ScriptedCrew(2, 4, {"2": 1, "9": 2})
    results = {job.id: spoken for job, spoken in speak_all(JOBS, crew, lambda: False, told.append)}
    assert len(results) == len(JOBS)
    assert [one for one, spoken in results.items() if spoken.error] == ["9"]
    assert results["9"].error == "its worker ended twice: signal SIGKILL"
    assert crew.begun["9"] == 2


def test_it_stops_when_told() -> None:
    crew = ScriptedCrew(1, 2, {})
    results: list[str] = []
    for job, _ in speak_all(JOBS, crew, lambda: len(results) == 5, lambda _: None):
        results.append(job.id)
    assert results == ["0", "1", "2", "3", "4"]
