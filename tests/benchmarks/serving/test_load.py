"""The commands of load and soak, in process and against a small server that speaks as OpenAI's."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.serving.asking import Ask
from benchmarks.serving.load import main as load
from benchmarks.serving.over_http import GARBAGE, OverHttp
from benchmarks.serving.soak import main as soak
from benchmarks.serving.soaking import Kind, Request, listen_alone
from benchmarks.serving.soaking import soak as soak_all
from benchmarks.serving.targets import Broken, Refused, Rejected

SECONDS = 0.1
PCM = bytes(range(240)) * 20  # 0.1 s at 24 kHz


class Server(BaseHTTPRequestHandler):
    """Says `PCM` in two pieces; "busy", "cut" and "bug" are errors."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            asked = json.loads(body)
            text = asked["input"]
            assert isinstance(text, str)
            assert text
            assert asked["voice"] == "alloy"
            assert asked.get("response_format") == "pcm"
            assert "speed" not in asked
        except (ValueError, LookupError, TypeError, AssertionError):
            self._refuse(400)
            return
        if text in ("busy", "bug"):
            self._refuse(429 if text == "busy" else 500)
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (PCM[:1000], PCM[1000:]):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if text == "cut":
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int) -> None:
        body = b'{"error": {"message": "no"}}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_speaks_and_fails(url: str) -> None:
    target = OverHttp(url + "/v1", ("alloy",), {})
    assert b"".join(target.speak(Ask("Hello.", "alloy"))) == PCM
    for text, error in (("busy", Refused), ("bug", Broken), ("cut", Broken)):
        with pytest.raises(error):
            [*target.speak(Ask(text, "alloy"))]
    for number in range(len(GARBAGE)):
        with pytest.raises(Rejected, match=r"400: .*no"):
            target.garbage(number)
    with pytest.raises(Broken, match="ConnectionRefusedError"):
        [*OverHttp("http://127.0.0.1:9", ("alloy",), {}).speak(Ask("Hello.", "alloy"))]


def test_a_server_is_loaded(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--streams", "2", "4", "--seconds", "0.4", "--words", "5", "5"]
    assert load([url, *options, "--output", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["2", "4"]
    report = json.loads((tmp_path / "out" / "load.json").read_text())
    assert report["target"] == url
    assert report["mean_seconds"] == pytest.approx(SECONDS)
    for level in report["levels"]:
        assert level["asked"] > 0
        assert level["refused"] == level["broken"] == 0
    assert (tmp_path / "out" / "load.svg").read_text().startswith("<svg")


def test_the_scheduler_is_loaded_and_soaked(
    tiny_native_engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ["--engine", str(tiny_native_engine), "--threads", "1"]
    assert load([*engine, "--streams", "3", "--seconds", "1", "--words", "1", "4"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[1] == "3"
    report = tmp_path / "soak.json"
    many = ["--requests", "60", "--texts", "6", "--listeners", "8", "--output", str(report)]
    assert soak([*engine, *many]) == 0
    said = capsys.readouterr().out
    assert "60 requests in" in said
    assert " 0 wrong" in said
    found = json.loads(report.read_text())
    assert {"whole", "cancelled", "garbage"} <= set(found["counts"])
    assert found["left"] == ""


def test_a_server_whose_audio_differs_is_found_out(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = iter(range(1000))

    def speak(self: OverHttp, ask: Ask) -> Iterator[bytes]:
        yield PCM if next(asked) < 12 else PCM[::-1]

    monkeypatch.setattr(OverHttp, "speak", speak)
    assert soak([url, "--requests", "20", "--texts", "2", "--listeners", "1"]) == 2
    assert "it sounds unlike alone" in capsys.readouterr().err


def test_a_cancelled_one_is_compared_as_far_as_it_came() -> None:
    class Said:
        name, bytes_per_second = "said", 1000
        voices: tuple[str, ...] = ()

        def __init__(self, *pieces: bytes) -> None:
            self.pieces = pieces

        def speak(self, ask: Ask) -> Generator[bytes, None, None]:
            yield from self.pieces

        def garbage(self, number: int) -> None:
            raise AssertionError

    known = listen_alone(Said(b"abcd", b"efghij"), Ask("Hello.", None), every=3)
    leaves = Request(0, Kind.CANCELLED, known, leaves_after=4)
    for pieces, wrong in (
        ((b"abcde", b"XXXXX"), []),
        ((b"abcd", b"efgX"), []),  # the last whole beginning is of six bytes
        ((b"abXd", b"efgh"), ["request 0, cancelled: its first 6 bytes are unlike alone"]),
    ):
        assert soak_all(Said(*pieces), [leaves], 1, lambda ended: None).wrong == wrong
    whole = Request(1, Kind.WHOLE, known)
    assert soak_all(Said(b"abcdefghij"), [whole], 1, lambda ended: None).wrong == []
    for audio in (b"abcdefghi", b"abcdefghiX", b""):
        wrong = ["request 1, whole: it sounds unlike alone"]
        assert soak_all(Said(audio), [whole], 1, lambda ended: None).wrong == wrong


def test_one_target_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert load([]) == 2
    assert "give either the address of a server or --engine DIR" in capsys.readouterr().err
    assert load(["ftp://x"]) == 2
    assert "is no address of a server" in capsys.readouterr().err
