"""Model repositories of Triton: what is written, and what a real server makes of it.

The second part is skipped where no server is installed (`make triton-check`): it takes the one that
the package nvidia-pytriton carries, and asks it over gRPC as clients do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.triton import NAME, main, write_model
from runtime import triton_model
from runtime.bundle.loading import load_bundle
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS
from runtime.triton_model import TritonSettings, read_parameters
from tests.runtime.tiny_bundle import Scenario, write_bundle

PARAMETER = re.compile(r'parameters { key: "(.*)", value: { string_value: "(.*)" } }')
SENTENCE = "Abc. Abcdef abc."


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenario = Scenario(heads=12, codes_a=range(40), frames_per_token=100.0)
    return write_bundle(tmp_path_factory.mktemp("triton") / "engine", scenario)


def parameters(config: str) -> dict[str, str]:
    return dict(PARAMETER.findall(config))


def test_the_model_has_the_whole_bundle(engine: Path, tmp_path: Path) -> None:
    line = ["--engine", str(engine), "--output", str(tmp_path / "repository")]
    assert main([*line, "--streams", "3", "--threads", "2", "--environment", "/env"]) == 0
    model = tmp_path / "repository" / NAME
    load_bundle(model / "1" / triton_model.BUNDLE_FOLDER)  # checks all hashes
    compile((model / "1" / "model.py").read_text(), "model.py", "exec")
    config = (model / "config.pbtxt").read_text()
    told = parameters(config)
    assert told.pop("EXECUTION_ENV_PATH") == "/env"
    strings = {key: {"string_value": value} for key, value in told.items()}
    settings = read_parameters(json.dumps({"parameters": strings}))
    assert settings == TritonSettings(streams=3, waiting=4, threads=2)
    for name in ("TEXT", "VOICE", "SEED", "AUDIO", "SAMPLE_RATE", "FINISHED"):
        assert f'name: "{getattr(triton_model, name)}"' in config


def test_a_model_is_replaced_and_others_stay(engine: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_model(engine, tmp_path, parameters={"streams": "1"})
    write_model(engine, tmp_path, parameters={"streams": "2"})
    assert parameters((tmp_path / NAME / "config.pbtxt").read_text()) == {"streams": "2"}
    assert {path.name for path in tmp_path.iterdir()} == {"other", NAME}


@pytest.mark.parametrize(
    ("name", "said"), [("../up", "use letters"), ("other", "no model of Triton")]
)
def test_nothing_else_is_replaced(
    engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    (tmp_path / "other").mkdir()
    line = ["--engine", str(engine), "--output", str(tmp_path), "--name", name]
    assert main(line) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


# With a server.


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def installed_server(folder: Path) -> Path:
    """A copy of the server of nvidia-pytriton, with the process for this version of Python."""
    found = importlib.util.find_spec("pytriton")
    if found is None or found.origin is None:
        pytest.skip("no server: make triton-check")
    source = Path(found.origin).parent / "tritonserver"
    target = folder / "tritonserver"
    shutil.copytree(source, target)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    process = target / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(process, target / "backends" / "python")
    return target


@pytest.fixture(scope="module")
def port(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a server over gRPC. The model's Python is this one, with all that is installed here."""
    folder = tmp_path_factory.mktemp("server")
    server, repository = installed_server(folder), folder / "repository"
    told = {"streams": "1", "waiting": "4", "threads": "1", "EXECUTION_ENV_PATH": sys.prefix}
    write_model(engine, repository, parameters=told | {"warm_up": "Abc."})
    http_port, grpc_port = free_ports(2)
    options = {
        "model-repository": repository,
        "backend-directory": server / "backends",
        "http-address": "127.0.0.1",
        "http-port": http_port,
        "grpc-address": "127.0.0.1",
        "grpc-port": grpc_port,
        "allow-metrics": "false",
    }
    line = [str(server / "bin" / "tritonserver"), *(f"--{key}={on}" for key, on in options.items())]
    libraries = [str(sysconfig.get_config_var("LIBDIR")), _libraries_of_pytriton()]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            line,
            env=os.environ | {"LD_LIBRARY_PATH": ":".join(libraries)},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, grpc_port, folder / "log")
            yield grpc_port
        finally:
            process.terminate()
            assert process.wait(60) == 0, (folder / "log").read_text()[-4000:]


def _libraries_of_pytriton() -> str:
    found = importlib.util.find_spec("pytriton")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parents[1] / "nvidia_pytriton.libs")


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    from tritonclient.grpc import InferenceServerClient, InferenceServerException

    client, end = InferenceServerClient(f"127.0.0.1:{port}"), time.monotonic() + 90
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            if client.is_model_ready(NAME):
                return
        except InferenceServerException:
            pass
        time.sleep(0.1)
    pytest.fail(f"the server is not ready: {log.read_text()[-4000:]}")


class Caller:
    """A stream of answers over gRPC."""

    def __init__(self, port: int) -> None:
        from tritonclient.grpc import InferenceServerClient

        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._client = InferenceServerClient(f"127.0.0.1:{port}")
        self._client.start_stream(lambda result, error: self._answers.put((result, error)))

    def ask(self, text: str, voice: str | None = None, seed: int | None = None) -> None:
        from tritonclient.grpc import InferInput

        sent = {
            "text": ("BYTES", np.array([text.encode()], object)),
            "voice": ("BYTES", None if voice is None else np.array([voice.encode()], object)),
            "seed": ("UINT64", None if seed is None else np.array([seed], np.uint64)),
        }
        inputs = []
        for name, (kind, values) in sent.items():
            if values is not None:
                inputs.append(InferInput(name, [1], kind))
                inputs[-1].set_data_from_numpy(values)
        self._client.async_stream_infer(NAME, inputs, enable_empty_final_response=True)

    def next(self, seconds: float = 20) -> tuple[Any, str]:
        """The next chunk, or None at the end; and an error's text."""
        result, error = self._answers.get(timeout=seconds)
        if error is not None:
            return None, str(error)
        is_last = result.get_response().parameters["triton_final_response"].bool_param
        return (None if is_last else result.as_numpy("audio")), ""

    def rest(self) -> list[Any]:
        chunks = []
        while (chunk := self.next()[0]) is not None:
            chunks.append(chunk)
        return chunks

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave, whatever is still to come."""
        self._client.stop_stream(cancel_requests=True)
        self._client.close()


def test_a_server_says_what_the_runtime_says(engine: Path, port: int) -> None:
    with Caller(port) as caller:
        caller.ask(SENTENCE, "plain", seed=7)
        chunks = caller.rest()
    alone = TTS.load(engine, threads=1).synthesize(SENTENCE, sampling=Sampling(seed=7))
    assert len(chunks) > 1
    assert np.array_equal(np.concatenate(chunks), alone.audio)


def test_a_server_tells_what_is_wrong(port: int) -> None:
    with Caller(port) as caller:
        caller.ask("Abc.", voice="../plain")
        assert "no voice '../plain'" in caller.next()[1]


def test_who_leaves_a_server_frees_the_row(port: int) -> None:
    """There is one row, and the text that is given up would hold it for minutes."""
    with Caller(port) as caller:
        caller.ask(" ".join(["Abcdef abc."] * 8000))
        assert caller.next()[0] is not None
    with Caller(port) as caller:
        caller.ask("Abc.")
        assert caller.next()[0] is not None
