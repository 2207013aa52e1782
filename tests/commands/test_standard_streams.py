"""Commands whose standard streams are closed, full, left, or of few characters; and signals.

With real descriptors and pipes, in processes of their own: what is tested is what Python and the
system do with them.
"""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
import soundfile

from commands.errors import Terminated, UserError
from commands.run import EXIT_READER_LEFT, run_cli, signals_raised
from commands.standard_streams import (
    Outlet,
    is_broken_pipe,
    output_is_closed,
    reader_has_left,
    ready_streams,
)
from runtime import TTS, Chunk, Sampling
from runtime.audio.sound import to_pcm16
from runtime.tts import Progress
from tests.runtime.tiny_bundle import Scenario, write_bundle

TEXT = "They know it."
LONG = TEXT * 50
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose speech is more than a pipe holds."""
    return write_bundle(tmp_path_factory.mktemp("talker") / "engine", Scenario())


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def shell(script: str, engine: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a shell script in which `tts` is the command, with the engine and one thread."""
    command = f'{sys.executable} -m runtime.tts --engine "{engine}" --threads 1 --seed 3'
    script = f'set -o pipefail; tts() {{ {command} "$@"; }}; {script}'
    return subprocess.run(["bash", "-c", script], capture_output=True, timeout=60, check=False)


def samples(path: str) -> int:
    return int(soundfile.info(path).frames)


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-"])
def test_messages_do_not_get_into_the_audio(plain_folder: Path, tts: TTS, closed: str) -> None:
    done = shell(f"tts '{TEXT}' --raw {closed}", plain_folder)
    assert done.returncode == 0
    expected = to_pcm16(tts.synthesize(TEXT, sampling=Sampling(seed=3)).audio)
    assert len(done.stdout) == len(expected)
    difference = np.frombuffer(done.stdout, "<i2").astype(int) - np.frombuffer(expected, "<i2")
    assert np.abs(difference).max() <= 1


def test_files_are_written_without_any_stream(plain_folder: Path) -> None:
    done = shell(f"tts '{TEXT}' -o a.wav --frames-out a.json <&- >&- 2>&-", plain_folder)
    assert done.returncode == 0
    assert samples("a.wav") == 4 * len(json.loads(Path("a.json").read_bytes()))


@pytest.mark.parametrize(
    ("script", "status", "complaint"),
    [
        (f"tts '{TEXT}' --raw >&-", 2, "--raw writes to standard output, which is closed"),
        ("tts - -o a.wav <&-", 2, "the text is empty"),
        (f"tts '{TEXT}' --raw > /dev/full", 2, "error: No space left on device"),
        ("tts --help >&-", 0, ""),
        ("tts --help > /dev/full", 0, ""),
        ("tts --no-such-option 2>&-", 2, ""),
        ("tts --no-such-option 2> /dev/full", 2, ""),
        (f"tts '{TEXT}' --engine nowhere -o a.wav 2> /dev/full", 2, ""),
    ],
)
def test_one_line_at_most(plain_folder: Path, script: str, status: int, complaint: str) -> None:
    done = shell(script, plain_folder)
    assert done.returncode == status
    errors = [line for line in done.stderr.decode().splitlines() if "ONNX Runtime" not in line]
    assert len(errors) == bool(complaint)
    assert complaint in done.stderr.decode()


def test_a_reader_of_raw_that_leaves_ends_it(talker: Path) -> None:
    """As programs end that write on: 128 + SIGPIPE."""
    done = shell(f"tts '{LONG}' --raw | head -c 2", talker)
    assert done.returncode == EXIT_READER_LEFT == 141
    assert done.stdout == done.stdout[:2]
    assert len(done.stderr.splitlines()) == 1, "what runs, and nothing more"


def test_files_are_finished_without_the_reader_of_raw(talker: Path) -> None:
    whole = shell(f"tts '{LONG}' -o whole.wav", talker)
    assert whole.returncode == 0
    done = shell(f"tts '{LONG}' --raw -o a.wav --frames-out a.json | head -c 2", talker)
    assert done.returncode == 0
    assert "the reader of --raw left before the end; the files are whole" in done.stderr.decode()
    assert samples("a.wav") == samples("whole.wav")
    assert Path("a.json").is_file()


@pytest.mark.parametrize("sink", ["2>&1 | head -n 1", "2> /dev/full", "2>&1 | true"])
def test_lost_messages_do_not_stop_the_work(talker: Path, sink: str) -> None:
    assert shell(f"tts '{LONG}' -o a.wav {sink}", talker).returncode == 0
    assert samples("a.wav") > 0


def test_figures_are_written_without_a_reader(plain_folder: Path) -> None:
    profile = f"{sys.executable} -m runtime.profile --engine '{plain_folder}' --text Abc. --runs 1"
    done = shell(f"{profile} --json a.json | true", plain_folder)
    assert done.returncode == 0
    assert done.stderr.endswith(b"wrote a.json\n")
    assert json.loads(Path("a.json").read_bytes())["subjects"][0]["runs"] == 1
    full = shell(f"{profile} > /dev/full", plain_folder)
    assert full.returncode == 2
    assert full.stderr.splitlines()[-1] == b"error: No space left on device"


@pytest.mark.parametrize(
    "module",
    [
        *("runtime.chat", "runtime.profile", "runtime.gpu_check", "export.build", "export.emulate"),
        *("calibration.run", "calibration.codec", "calibration.compare"),
        *("train.lm", "train.codec", "train.prepare", "train.align", "evaluation.speech"),
    ],
)
def test_no_command_needs_its_streams(module: str) -> None:
    """Each goes through `run_cli`, whatever it does afterwards."""
    for streams in ("<&- >&- 2>&-", ">&-", "> /dev/full 2>&1"):
        done = shell(f"{sys.executable} -m {module} --no-such-option {streams}", ROOT)
        assert done.returncode == 2, done.stderr
        assert b"Traceback" not in done.stderr


def test_programs_that_are_started_have_their_streams() -> None:
    code = (
        "import subprocess, sys\nfrom commands.run import run_cli\n"
        'child = \'import os; os.fstat(0); os.fstat(1); os.fstat(2); open("child", "w")\'\n'
        "sys.exit(run_cli(lambda _: print(subprocess.run([sys.executable, '-c', child])), None))"
    )
    Path("command.py").write_text(code)
    assert shell(f"{sys.executable} command.py <&- >&- 2>&-", ROOT).returncode == 0
    assert Path("child").is_file()


def start(engine: Path, *arguments: str, stdin: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "runtime.tts", "--engine", str(engine), "--threads", "1"]
    streams = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *arguments], **streams)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, 130, b"interrupted"),
        (signal.SIGTERM, 143, b"terminated"),
        (signal.SIGHUP, 129, b"terminated"),
    ],
)
def test_signals_leave_nothing_half_written(
    talker: Path, number: int, status: int, line: bytes
) -> None:
    """It is blocked in the middle of its speech: nobody reads on."""
    Path("a.wav").write_bytes(b"before")
    process = start(talker, LONG, "--raw", "-o", "a.wav")
    assert process.stdout is not None
    process.stdout.read(1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors.splitlines()[1:] == [line]
    assert Path("a.wav").read_bytes() == b"before"
    assert os.listdir() == ["a.wav"]


def test_a_signal_while_text_is_awaited(talker: Path) -> None:
    here, there = pty.openpty()  # on a terminal it says that it waits
    with start(talker, "-", "-o", "a.wav", stdin=there) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"type the text, then Ctrl-D\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    os.close(here)
    os.close(there)
    assert (process.returncode, errors) == (130, b"interrupted\n")


def test_signals_that_are_ignored_or_handled_stay_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals_raised():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            with pytest.raises(Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_worker_just_ends(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, time\nfrom commands.run import run_cli\n"
        "def command(_):\n"
        "    reading, writing = os.pipe()\n"
        "    worker = os.fork()\n"
        "    worker or os.write(writing, b'.')\n"
        "    while not worker:\n        time.sleep(0.1)\n"
        "    os.read(reading, 1)\n"  # Python forgets signals that come while it forks
        "    os.kill(worker, 15)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))\n"
        "run_cli(command, None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"-15\n", b"")


def test_commands_run_in_other_threads_too() -> None:
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(run_cli(lambda _: None, None)))
    thread.start()
    thread.join()
    assert statuses == [0]


class Console(io.TextIOWrapper):
    """Of Western Windows: code page 1252."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="cp1252", newline="\n", write_through=True)

    def shown(self) -> bytes:
        return self.buffer.getvalue()  # type: ignore[attr-defined]


def test_characters_that_a_console_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Console(), Console()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    def command(_: object) -> None:
        print("It is … 你.")
        raise UserError("voices: 你\ud800")

    assert run_cli(command, None) == 2
    assert out.shown() == b"It is \x85 ?.\n"
    assert err.shown() == b"error: voices: ??\n"


def test_streams_that_python_has_not_got(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pythonw` on Windows, whose descriptors are none of ours."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    with ready_streams():
        print("nowhere")
        print("nowhere", file=sys.stderr)
        assert sys.stdin.read() == sys.stdin.buffer.read().decode() == ""
        assert output_is_closed()
        assert not sys.stdout.isatty()
        assert not reader_has_left()
    assert sys.stdout is None


@pytest.mark.parametrize(("platform", "is_one"), [("linux", False), ("win32", True)])
def test_windows_has_another_word_for_it(
    monkeypatch: pytest.MonkeyPatch, platform: str, is_one: bool
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert is_broken_pipe(OSError(22, "Invalid argument")) is is_one
    assert is_broken_pipe(BrokenPipeError())
    assert not is_broken_pipe(OSError(28, "No space left on device"))


def test_what_is_written_after_the_reader_has_left_is_dropped() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        outlet = Outlet(stream, is_vital=True)
        outlet.write("kept in a buffer")
        outlet.flush()
        assert outlet.is_lost
        outlet.write_bytes(bytes(100_000))
        outlet.write("more")
        outlet.flush()


class Terminal(io.StringIO):
    """Standard error on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Of 40 columns; for `redirect_stderr`, since pytest has its own way with streams."""
    monkeypatch.setenv("COLUMNS", "40")
    return Terminal()


def chunks(count: int) -> list[Chunk]:
    audio, frames = np.zeros(16_000, np.float32), np.zeros((80, 3), np.int64)
    return [Chunk(audio, 16_000, frames, True, n + 1, count) for n in range(count)]


def test_progress_stays_in_one_row_of_a_terminal(terminal: Terminal) -> None:
    with redirect_stderr(terminal):
        progress = Progress(16_000, is_heard=False)
        with progress:
            list(progress.watch(iter(chunks(12))))
    rows = terminal.getvalue().split("\r")
    assert rows[1].startswith("sentence 1 of 12, 1.00 s of audio")
    assert rows[-1].startswith("12.00 s of audio in ")
    assert max(len(row.rstrip("\n")) for row in rows) < 40
    assert len({len(row.rstrip("\n")) for row in rows[1:]}) == 1, "nothing of a longer line stays"
    assert terminal.getvalue().count("\n") == 1


def test_a_message_after_broken_progress_begins_a_line(terminal: Terminal) -> None:
    def break_off(progress: Progress) -> None:
        with progress:
            for _ in progress.watch(iter(chunks(3))):
                raise KeyboardInterrupt

    with redirect_stderr(terminal), pytest.raises(KeyboardInterrupt):
        break_off(Progress(16_000, is_heard=False))
    assert terminal.getvalue().endswith("\n")
    assert terminal.getvalue().count("\n") == 1


def test_progress_in_a_log_is_told_once_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(np.arange(0.0, 1000.0, 25.0).tolist())
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    progress = Progress(16_000, is_heard=True)
    with progress:
        list(progress.watch(iter(chunks(6))))
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 4
    assert lines[0].startswith("sentence 3 of 6, 3.00 s of audio")
    assert lines[-1].startswith("6.00 s of audio")
    assert lines[-1].endswith("first after 25000 ms")


def test_typing_on_a_terminal(talker: Path) -> None:
    """It says that it waits, and for what."""
    here, there = pty.openpty()
    command = [sys.executable, "-m", "runtime.tts", "--engine", str(talker), "--threads", "1"]
    with subprocess.Popen(
        [*command, "-", "-o", "a.wav"], stdin=there, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"type the text, then Ctrl-D\n"
        os.write(here, b"They know it.\n\x04")
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert samples("a.wav") > 0
    os.close(here)
    os.close(there)
