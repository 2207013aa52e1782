"""How a speech ends: no step more for who has left, and a free place for who is told the end."""

from __future__ import annotations

import sys
import threading

import pytest

from runtime.engines.rows import RowLoop, Step
from runtime.scheduling.limits import Load, SchedulerLimits, ShuttingDown
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Speech, SpeechFailed
from runtime.speech.synthesis import TTS
from tests.runtime.scheduling.test_scheduler import hear, order, tts, until

__all__ = ["tts"]


def test_who_has_left_takes_no_step_but_that_under_way(
    tts: TTS, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[RowLoop] = []
    step = RowLoop.step

    def counted(loop: RowLoop) -> list[Step]:
        begun.append(loop)
        return step(loop)

    monkeypatch.setattr(RowLoop, "step", counted)
    with Scheduler(tts, SchedulerLimits(rows=1)) as scheduler:
        speech = scheduler.submit(order(tts))
        until(lambda: bool(begun))
        speech.cancel()
        held.set()
        until(lambda: scheduler.load() == Load(0, 0, 1))
    assert len(begun) == 1


def test_who_is_told_the_end_finds_the_place_free(tts: TTS) -> None:
    """Told by the engine's thread, before it does anything else."""
    following: list[Speech] = []
    with Scheduler(tts, SchedulerLimits(rows=1, waiting=0)) as scheduler:

        def follow() -> None:
            if speech.state.is_end and not following:
                assert scheduler.load() == Load(0, 0, 1)
                following.append(scheduler.submit(order(tts)))

        speech = scheduler.submit(order(tts))
        speech.on_change(follow)
        assert len([*speech])
        until(lambda: bool(following) or speech.is_cancelled)
        assert following
        assert len([*following[0]])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_is_told_of_the_threads_end_finds_it_ended(
    tts: TTS, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[bool] = []
    monkeypatch.setattr(RowLoop, "step", lambda loop: held.wait(60) and sys.exit())
    with Scheduler(tts, SchedulerLimits(rows=1)) as scheduler:
        speech = scheduler.submit(order(tts))
        assert scheduler.is_alive
        speech.on_change(lambda: alive.append(scheduler.is_alive))
        held.set()
        with pytest.raises(SpeechFailed, match="the engine's thread has ended"):
            hear(speech)
        until(lambda: alive == [True, False])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_orders_while_the_thread_ends_is_not_forgotten(
    tts: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last look at who is there leaves time for one more order, which is refused."""
    told: list[Speech | Exception] = []
    everybody = Scheduler._all

    def submit(scheduler: Scheduler) -> None:
        try:
            told.append(scheduler.submit(order(tts)))
        except ShuttingDown as refusal:
            told.append(refusal)

    def slowly(scheduler: Scheduler) -> list[Speech]:
        found = everybody(scheduler)
        late = threading.Thread(target=submit, args=(scheduler,))
        late.start()
        late.join(0.3)
        return found

    scheduler = Scheduler(tts, SchedulerLimits(rows=1))
    monkeypatch.setattr(Scheduler, "_all", slowly)
    monkeypatch.setattr(Scheduler, "_serve", lambda _: sys.exit())
    first = scheduler.submit(order(tts))
    until(lambda: first.state.is_end and bool(told))
    assert isinstance(told[0], ShuttingDown), "an order that was taken is never ended"
