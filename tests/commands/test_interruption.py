"""Signals during a long command: the first is noted, the second ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest

from commands.errors import EXIT_TIME_IS_UP, TimeIsUp
from commands.interruption import Interruption, format_command
from commands.run import run_cli

LOOP = """
import os, signal
from commands.interruption import Interruption
with Interruption() as interruption:
    for number in (signal.{first}, signal.{second}):
        os.kill(os.getpid(), number)
        print("noted", interruption.requested, flush=True)
        if {once}:
            break
interruption.leave("saved; go on with: again")
"""


def run(first: str, second: str = "SIGINT", once: bool = False) -> subprocess.CompletedProcess[str]:
    program = LOOP.format(first=first, second=second, once=once)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_the_second_signal_ends_the_process_at_once(first: str, second: str) -> None:
    ended = run(first, second)
    assert ended.stdout == "noted True\n"
    assert ended.returncode == -getattr(signal, second)
    assert "repeat it to stop at once" in ended.stderr


def test_the_first_signal_lets_it_save() -> None:
    ended = run("SIGTERM", once=True)
    assert ended.returncode == 143
    assert ended.stderr.endswith("saved; go on with: again\n")


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(KeyboardInterrupt):
        interruption.leave("")


def test_what_a_shell_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            assert not interruption.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_note_nothing() -> None:
    noted: list[bool] = []

    def enter() -> None:
        with Interruption() as interruption:
            noted.append(interruption.requested)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert noted == [False]


def test_commands_can_be_pasted() -> None:
    command = format_command("train.prepare", ["my recordings", "--codec", "c"])
    assert command == "python -m train.prepare 'my recordings' --codec c"


def test_time_is_up_as_after_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Interruption(max_minutes=2, clock=lambda: now[0]) as interruption:
        assert not interruption.requested
        now[0] = 119.0
        assert not interruption.requested
        assert not interruption.noted
        now[0] = 120.0
        assert interruption.requested
        assert interruption.noted
    with pytest.raises(TimeIsUp):
        interruption.leave("saved; go on with: again")
    assert capsys.readouterr().err == "saved; go on with: again\n"


def test_a_command_that_time_stopped_has_a_status_of_its_own() -> None:
    def command(argv: Sequence[str] | None) -> None:
        Interruption(max_minutes=0).leave("saved")

    assert run_cli(command, []) == EXIT_TIME_IS_UP == 75
