"""`python -m runtime.batch`: the files are the same whoever makes them, and however often."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

import runtime.tts
from runtime.batch import main
from runtime.batching import batch
from runtime.batching.local_crew import LocalCrew
from runtime.batching.speaking import SpeakerSettings
from tests.runtime.tiny_bundle import SAMPLE_RATE_HZ, Scenario, write_bundle

TEXTS = [" ".join(["Abc abcd."] * (1 + number % 5)) for number in range(30)]
ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("SLM_BATCH_KILLS", "10"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch") / "engine"
    return write_bundle(folder, Scenario(codes_a=range(200)))


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": f"row {number}", "text": text} for number, text in enumerate(TEXTS)]
    return write_table(tmp_path_factory.mktemp("batch") / "table.jsonl", rows)


def command(engine: Path, table: Path, output: Path, *more: str) -> list[str]:
    return ["--engine", str(engine), "--input", str(table), "--output", str(output), *more]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def expected(engine: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one worker makes, a row at a time, without interruption."""
    output = tmp_path_factory.mktemp("batch") / "out"
    assert main(command(engine, table, output, "--workers", "1", "--rows", "1")) == 0
    return output


def test_each_file_is_what_the_command_for_one_text_says(
    engine: Path, expected: Path, tmp_path: Path
) -> None:
    rows = manifest(expected)
    assert [row["id"] for row in rows] == [f"row {number}" for number in range(len(TEXTS))]
    for row in rows[:5]:
        alone = tmp_path / "alone.wav"
        line = ["--engine", str(engine), row["text"], "--seed", str(row["seed"]), "-o", str(alone)]
        assert runtime.tts.main(line) == 0
        assert (expected / row["file"]).read_bytes() == alone.read_bytes()
        assert row["seconds"] == soundfile.info(alone).frames / SAMPLE_RATE_HZ
    assert len({row["sha256"] for row in rows}) == len(rows), "each row has noise of its own"


@pytest.mark.parametrize("more", [("--workers", "2"), ("--workers", "3", "--rows", "3")])
def test_workers_and_rows_change_nothing(
    engine: Path, table: Path, expected: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    assert main(command(engine, table, tmp_path / "out", *more)) == 0
    assert content(tmp_path / "out") == content(expected)


def test_native_processes_share_large_weights_and_change_nothing(
    tiny_native_engine: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[bool] = []

    def crew(settings: SpeakerSettings, workers: int) -> LocalCrew:
        shared.append(settings.shares_weights)
        return LocalCrew(settings, workers)

    monkeypatch.setattr(batch, "LocalCrew", crew)
    weights = (tiny_native_engine / "weights.safetensors").stat().st_size
    for number, (workers, most) in enumerate((("1", 0), ("2", 2 * weights), ("2", weights))):
        monkeypatch.setattr(batch, "COPIES_BYTES", most)
        output = tmp_path / str(number)
        line = command(tiny_native_engine, table, output, "--workers", workers, "--max-steps", "8")
        assert main(line) == 0
    assert shared == [False, False, True]
    assert content(tmp_path / "0") == content(tmp_path / "1") == content(tmp_path / "2")


def test_flac_holds_the_same_samples(
    engine: Path, table: Path, expected: Path, tmp_path: Path
) -> None:
    assert main(command(engine, table, tmp_path / "out", "--format", "flac")) == 0
    for wav, flac in zip(manifest(expected), manifest(tmp_path / "out"), strict=True):
        mine, rate = soundfile.read(tmp_path / "out" / flac["file"], dtype="int16")
        assert rate == SAMPLE_RATE_HZ
        assert (mine == soundfile.read(expected / wav["file"], dtype="int16")[0]).all()


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_compressed_files_are_whole_and_the_same_each_time(
    name: str, engine: Path, table: Path, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    for folder in ("one", "other"):
        assert main(command(engine, table, tmp_path / folder, "--format", name)) == 0
    assert content(tmp_path / "one") == content(tmp_path / "other")
    for row in manifest(tmp_path / "one"):
        heard = soundfile.info(tmp_path / "one" / row["file"])
        assert heard.duration >= row["seconds"]


def test_failed_rows_are_listed_and_the_rest_is_done(
    engine: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "good", "text": "Abc."},
        {"id": "empty", "text": " "},
        {"id": "path", "text": "Abc.", "voice": "../../voice.wav"},
        {"id": "../up", "text": "Abc."},
    ]
    table, output = write_table(tmp_path / "table.jsonl", rows), tmp_path / "out"
    assert main(command(engine, table, output)) == 2
    said = capfd.readouterr().err
    assert f"failed: {table}, line 2, id 'empty': the text is empty" in said
    assert "error: 2 of 4 rows failed" in said
    done = manifest(output)
    assert [row["error"] is None for row in done] == [True, False, False, True]
    assert "no voice '../../voice.wav'; the bundle has" in done[2]["error"]
    assert {path.name for path in tmp_path.iterdir()} == {"table.jsonl", "out"}

    rows[1]["text"], rows[2]["voice"] = "Abcd.", None
    write_table(table, rows)
    before = (output / "good.wav").stat().st_mtime_ns
    assert main(command(engine, table, output)) == 0
    assert [row["error"] for row in manifest(output)] == [None] * 4
    assert (output / "good.wav").stat().st_mtime_ns == before, "it was not made again"


def test_mistakes_are_one_line_and_leave_nothing(
    engine: Path, table: Path, expected: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    for line, said in (
        (command(engine, tmp_path / "no.csv", output), "no such file"),
        (command(engine, table, expected, "--seed", "4"), "was begun with another seed"),
        (command(tmp_path / "none", table, output), "none"),
    ):
        assert main(line) == 2
        [message] = capfd.readouterr().err.splitlines()
        assert message.startswith("error: ")
        assert said in message
    assert not output.exists()
    assert main(command(engine, table, output, "--voice", "nobody")) == 2
    assert "error: no voice nobody" in capfd.readouterr().err
    assert main(command(engine, table, output)) == 0, "no file was made with the other settings"


def start(engine: Path, table: Path, output: Path, *more: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "runtime.batch", *command(engine, table, output, *more)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)


@pytest.fixture(scope="module")
def long_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": number, "text": TEXTS[number % 30]} for number in range(300)]
    return write_table(tmp_path_factory.mktemp("batch") / "long.jsonl", rows)


def test_kills_at_any_point_lose_nothing(engine: Path, long_table: Path, tmp_path: Path) -> None:
    """SLM_BATCH_KILLS=50 makes it 50 of them. A run that ends before its kill does not count."""
    assert main(command(engine, long_table, tmp_path / "whole")) == 0
    whole = content(tmp_path / "whole")
    chance, kills, round_ = random.Random(7), 0, 0
    while kills < KILLS:
        output = tmp_path / f"out{round_}"
        round_ += 1
        made: dict[str, int] = {}
        while True:
            process = start(engine, long_table, output, "--workers", str(chance.randint(1, 2)))
            try:
                status = process.wait(chance.uniform(0.1, 1.2) if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
                kills += 1
            for path in output.glob("*.wav"):
                assert path.read_bytes() == whole[path.name], "what is there is whole"
                changed = path.stat().st_mtime_ns
                assert made.setdefault(path.name, changed) == changed, "nothing is made twice"
            if status == 0:
                break
            assert status == -signal.SIGKILL
        assert content(output) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_workers_end_with_their_command_and_can_be_killed_themselves(
    engine: Path, long_table: Path, tmp_path: Path
) -> None:
    process = start(engine, long_table, tmp_path / "out", "--workers", "2")
    workers = wait_for_workers(process, tmp_path / "out")
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(60) == 0
    assert len(manifest(tmp_path / "out")) == 300
    process = start(engine, long_table, tmp_path / "other", "--workers", "2")
    workers = wait_for_workers(process, tmp_path / "other")
    process.kill()
    process.wait()
    end = time.monotonic() + 60
    while any(map(is_alive, workers)):
        assert time.monotonic() < end, "a worker is left"
        time.sleep(0.01)


def wait_for_workers(process: subprocess.Popen[bytes], output: Path) -> list[int]:
    """The workers of a command that has begun to write files."""
    wait_for(process, lambda: [*output.glob("*.wav")])
    return workers_of(process)


def wait_for(process: subprocess.Popen[Any], condition: Callable[[], Any]) -> None:
    """While the command runs."""
    while not condition():
        assert process.poll() is None
        time.sleep(0.001)


def workers_of(process: subprocess.Popen[Any]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [
        int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]


def is_alive(process: int) -> bool:
    """Whether it runs: a process that has ended may wait for somebody to read its status."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
