"""Workers as processes of this machine. They end with the process that started them.

In: jobs through a pipe. Out: results through the same pipe. Each process has a bundle of its own;
native ones share the pages of its weights.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import cast

from commands.errors import UserError
from runtime.batching.crew import Death, News, Ready
from runtime.batching.results import Job
from runtime.batching.speaking import Speaker, SpeakerSettings

MOST_FALSE_STARTS = 2  # a worker that ends once may have been killed
_SPAWN = multiprocessing.get_context("spawn")  # a fork would copy locks of other threads


class LocalCrew:
    """See `Crew`. Use it as a context."""

    def __init__(self, settings: SpeakerSettings, workers: int) -> None:
        self.workers, self.jobs = workers, settings.jobs
        self._settings = settings
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []
        self._false_starts = [0] * workers  # in a row

    def __enter__(self) -> LocalCrew:
        resource_tracker.ensure_running()  # its start would end what `_interrupts_wait` begins
        for _ in range(self.workers):
            process, pipe = self._start()
            self._processes.append(process)
            self._pipes.append(pipe)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is lost: what they are speaking is spoken again by the next command."""
        for process in self._processes:
            process.kill()
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.join()
            pipe.close()

    def send(self, worker: int, job: Job) -> None:
        try:
            self._pipes[worker].send(job)
        except OSError:  # it has died, and `receive` says so
            return

    def receive(self, seconds: float) -> Sequence[News]:
        news: list[News] = []
        for pipe in wait(self._pipes, seconds):
            worker = self._pipes.index(cast(Connection, pipe))
            try:
                message = self._pipes[worker].recv()
            except (EOFError, OSError):
                news.append((worker, self._replace(worker)))
                continue
            if isinstance(message, UserError):
                raise message
            if isinstance(message, Ready):
                self._false_starts[worker] = 0
            news.append((worker, message))
        return news

    def _start(self) -> tuple[SpawnProcess, Connection]:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs, self._settings), daemon=True)
        with _interrupts_wait():
            process.start()
        theirs.close()  # or its end would never be seen
        return process, ours

    def _replace(self, worker: int) -> Death:
        """Another process with the same number.

        Raises:
            UserError: it has ended so before it was ready, more than once.
        """
        process = self._processes[worker]
        process.join()
        reason = _describe_exit(process.exitcode)
        self._false_starts[worker] += 1
        if self._false_starts[worker] > MOST_FALSE_STARTS:
            raise UserError(f"worker {worker + 1} ends while it loads the bundle: {reason}")
        self._pipes[worker].close()
        self._processes[worker], self._pipes[worker] = self._start()
        return Death(reason)


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}, perhaps for want of memory"
    return f"exit status {code}"


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C reaches a terminal's processes all at once. One that is started here does not get it,
    not even before it can say so."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, settings: SpeakerSettings) -> None:
    """A worker's main function: until the pipe ends, which it does with the other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        speaker = Speaker(settings)
    except UserError as error:
        pipe.send(error)
        return
    with suppress(OSError):  # nobody listens any more
        pipe.send(Ready(speaker.describe()))
        _serve(pipe, speaker, settings.jobs)
    os._exit(0)  # threads may still be speaking


def _serve(pipe: Connection, speaker: Speaker, jobs: int) -> None:
    """Speak jobs side by side, until the pipe ends."""
    sending = threading.Lock()

    def speak(job: Job) -> None:
        try:
            spoken = speaker.speak(job)
        except BaseException:  # a defect must not look like work that goes on
            traceback.print_exc()
            os._exit(1)
        try:
            with sending:
                pipe.send(spoken)
        except OSError:  # nobody listens any more
            os._exit(0)

    threads = ThreadPoolExecutor(jobs)
    with suppress(EOFError):
        while True:
            threads.submit(speak, pipe.recv())
