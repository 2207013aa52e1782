"""Workers as actors of Ray, on one machine or many.

In: jobs. Out: results, which come to the process that asked: only it writes files, so the machines
need no folder in common. Each of them needs this project, and the bundle under the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commands.errors import UserError
from runtime.batching.crew import Death, News, Ready
from runtime.batching.results import Job
from runtime.batching.speaking import Speaker, SpeakerSettings

LOCAL = "local"  # a cluster of this machine, for the time of the command


def require_ray() -> None:
    """Import it, so that its absence is told before the work."""
    import ray  # noqa: F401 (whether it is there)


class RayCrew:
    """See `Crew`. Use it as a context."""

    def __init__(self, settings: SpeakerSettings, address: str, workers: int | None) -> None:
        """workers: None takes as many as the cluster has processors for.

        Raises:
            UserError: no cluster at that address.
        """
        import ray

        self._ray: Any = ray
        try:
            ray.init(
                None if address == LOCAL else address, log_to_driver=False, logging_level="error"
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"--ray {address}: no cluster answers ({error}); start it") from None
        processors = int(ray.cluster_resources().get("CPU", 1))
        self.workers = workers or max(1, processors // settings.threads)
        self.jobs = settings.jobs
        self._actor = ray.remote(num_cpus=settings.threads, max_concurrency=settings.jobs)(Speaker)
        self._settings = settings
        self._actors: list[Any] = []
        self._ready: dict[Any, int] = {}  # answers to come, by what they are told with
        self._given: dict[Any, int] = {}

    def __enter__(self) -> RayCrew:
        for worker in range(self.workers):
            self._actors.append(None)
            self._start(worker)
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def send(self, worker: int, job: Job) -> None:
        self._given[self._actors[worker].speak.remote(job)] = worker

    def receive(self, seconds: float) -> Sequence[News]:
        references = [*self._ready, *self._given]
        done, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
        news: list[News] = []
        for reference in done:
            if reference in self._ready:
                news.append(self._begin(reference))
            elif reference in self._given:
                news.append(self._take(reference))
        return news

    def _start(self, worker: int) -> None:
        self._actors[worker] = self._actor.remote(self._settings)
        self._ready[self._actors[worker].describe.remote()] = worker

    def _begin(self, reference: Any) -> News:
        worker = self._ready.pop(reference)
        try:
            return worker, Ready(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            raise UserError(f"worker {worker + 1} could not begin: {_last(error)}") from None

    def _take(self, reference: Any) -> News:
        worker = self._given.pop(reference)
        try:
            return worker, self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            # All that it had is lost with it; the first one tells, and the others are forgotten.
            self._given = {one: whose for one, whose in self._given.items() if whose != worker}
            self._ray.kill(self._actors[worker])
            self._start(worker)
            return worker, Death(str(error).strip().splitlines()[0])


def _last(error: Exception) -> str:
    """The line of a remote traceback that says what happened."""
    return str(error).strip().splitlines()[-1]
