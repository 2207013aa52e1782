"""Servers in turn: each is started, loaded and ended; the table says who is best at what."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.batches import format_report as format_batches
from benchmarks.serving.batches import main as compare_batches
from benchmarks.serving.batches import read_texts
from benchmarks.serving.compare import main as compare
from benchmarks.serving.peers import roster
from benchmarks.serving.peers.report import format_report
from benchmarks.serving.peers.roster import SERVERS, Places, Server
from benchmarks.serving.peers.running import started
from benchmarks.serving.resources import processor_seconds
from commands.errors import UserError

PROGRAM = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Speaks(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(float(sys.argv[2]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(bytes(4800))

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Speaks).serve_forever()
"""


def stand_in(folder: Path, name: str, seconds: float) -> Server:
    """Says 0.1 s of silence after so many seconds."""
    program = folder / "speaks.py"
    program.write_text(PROGRAM)
    python = Path(sys.executable).name
    return Server(name, "", "", (python, str(program), "{port}", str(seconds)))


def test_servers_are_loaded_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick, slow = stand_in(tmp_path, "quick", 0.0), stand_in(tmp_path, "slow", 0.2)
    monkeypatch.setattr(roster, "SERVERS", (quick, slow))
    report = tmp_path / "servers.json"
    command = ["--files", str(tmp_path), "--output", str(report), "--streams", "1", "2"]
    assert compare([*command, "--seconds", "0.4"]) == 0
    said = capsys.readouterr()
    assert "slow this clone: ready after" in said.err
    assert "it falls behind; no higher load is offered" in said.err
    levels = {
        name: each["levels"] for name, each in json.loads(report.read_text())["servers"].items()
    }
    assert [level["streams"] for level in levels["quick"]] == [1, 2]
    assert [level["streams"] for level in levels["slow"]] == [1]
    assert levels["slow"][0]["first_audio"][0] >= 0.2
    assert compare([*command, "--table"]) == 0
    assert capsys.readouterr().out == said.out
    assert compare([*command, "--only", "other"]) == 2
    assert "no server 'other'; there are: quick; slow" in capsys.readouterr().err


def test_a_server_that_ends_is_told(tmp_path: Path) -> None:
    server = Server("ends", "", "", (Path(sys.executable).name, "-c", "raise SystemExit(1)"))
    places = Places(tmp_path, tmp_path, tmp_path)
    with (
        pytest.raises(UserError, match=r"ends: has ended; .*ends.log says why"),
        started(server, places, tmp_path),
    ):
        raise AssertionError
    with pytest.raises(UserError, match="make server-peers"):
        SERVERS[1].command(places, 1)


def test_all_places_of_commands_are_filled(tmp_path: Path) -> None:
    for server in SERVERS:
        if server.environment:
            python = tmp_path / server.environment / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        places = Places(tmp_path, tmp_path / "files", tmp_path / "engine")
        said = " ".join([*server.command(places, 8123), *server.environ(places, 8123).values()])
        assert "8123" in said or server.name.startswith("local-tts")
        assert "{" not in said


def level(streams: float, first: float, gaps: int, throughput: float) -> dict[str, Any]:
    return {
        "streams": streams,
        "asked": 10,
        "gaps": gaps,
        "first_audio": [first, 2 * first, 2 * first],
        "throughput": throughput,
        "processor": 0.1,
    }


def test_the_best_is_bold_and_noise_is_not_best() -> None:
    found = {"version": "1.0", "memory_mib": 100.0, "ready_seconds": 1.0}
    noise = next(server.name for server in SERVERS if server.noise)
    servers = {
        "ours": {**found, "levels": [level(1, 0.02, 0, 1), level(4, 0.03, 0, 3.5)]},
        "other": {**found, "memory_mib": 50.0, "levels": [level(1, 0.2, 4, 0.9)]},
        noise: {**found, "levels": [level(1, 0.01, 0, 1)]},
    }
    tables = format_report({"streams": [1, 4], "servers": servers}).split("\n\n")
    first, slow, gaps, overall = (read(table) for table in tables)
    assert first[0] == ["first audio p50, ms", "1 stream", "4 streams"]
    assert first[1:] == [["ours", "**20**", "**30**"], ["other", "200", "–"], [noise, "10", "–"]]
    assert slow[1] == ["ours", "**40**", "**60**"]
    assert [row[1:] for row in gaps[1:]] == [["**0**", "**0**"], ["40", "–"], ["0", "–"]]
    assert overall[1] == ["ours", "**3.5**", "**0.100**", "100", "**1.0**", "1.0"]
    assert overall[2] == ["other", "0.9", "**0.100**", "**50**", "**1.0**", "1.0"]


def read(table: str) -> list[list[str]]:
    """Its cells, without the line below the titles."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def test_work_is_counted() -> None:
    before = processor_seconds(os.getpid())
    while processor_seconds(os.getpid()) < before + 0.03:
        sum(range(10_000))
    with pytest.raises(UserError, match="cannot be seen"):
        processor_seconds(2**22 + 1)


def test_batches_are_compared(
    tiny_native_engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "batches.json"
    options = ["--texts", "3", "--rounds", "1", "--output", str(report)]
    assert compare_batches(["--engine", str(tiny_native_engine), *options]) == 0
    runs = json.loads(report.read_text())["runs"]
    assert [run["workers"] for run in runs] == [1, 2]
    assert all(run["processor"] > 0 for run in runs)
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert compare_batches(["--engine", str(tmp_path / "none"), *options]) == 2
    assert "runtime.batch failed: " in capsys.readouterr().err
    assert len({*read_texts(300)}) < len(read_texts(1000)) == 1000


def test_batches_are_compared_by_medians() -> None:
    def run(workers: int, seconds: float) -> dict[str, float]:
        return {"workers": workers, "seconds": seconds, "processor": 30.0}

    seconds = ((1, 30.0), (1, 32.0), (1, 90.0), (2, 16.0))
    table = format_batches({"audio_seconds": 320.0, "runs": [run(*each) for each in seconds]})
    assert read(table)[1:] == [
        ["1", "32.0", "10.0", "30.0", "1.00"],
        ["2", "16.0", "20.0", "30.0", "2.00"],
    ]
