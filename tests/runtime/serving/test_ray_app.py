"""The application of Ray: its settings, and on a cluster of this machine what it does.

The second part is skipped where Ray is not installed (`make ray-check`): it starts a cluster.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import yaml
from websockets.sync.client import connect

import runtime.ray_app
import runtime.serve
from commands.errors import UserError
from runtime.ray_app import deployment_options, make_application, read_settings
from runtime.serving.requests import MIN_SPEED
from runtime.speech.synthesis import TTS
from tests.runtime.serving import ray_faults
from tests.runtime.serving.conftest import SENTENCE, serving, until
from tests.runtime.serving.websocket.conftest import NATIVE, PATH, Caller
from tests.runtime.tiny_bundle import Scenario, write_bundle

FILE = Path(__file__).parents[3] / "deploy" / "ray.yaml"
SLOWEST_SPEECH = 8  # characters a second
LONG = " ".join(["Abcdef abc."] * 60)
CUT = (httpx.RemoteProtocolError, httpx.ReadError)
STREAMS, WAITING = 2, 4


def test_settings_may_be_texts_as_a_command_line_has_them() -> None:
    settings = read_settings({"engine": "e", "streams": "12", "gpus": "0.5"})
    assert (settings.streams, settings.gpus, settings.waiting_texts) == (12, 0.5, 12)
    assert read_settings({"engine": "e", "streams": 1}).waiting_texts == 4


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "engine"),
        ({"engine": "e", "rows": "8"}, "rows"),
        ({"engine": "e", "streams": "many"}, "streams"),
        ({"engine": "e", "threads": 0}, "threads must be at least 1"),
        ({"engine": "e", "run_with": "torch"}, "run_with must be one of"),
        ({"engine": "e", "min_replicas": 5}, "min_replicas must be at most"),
    ],
)
def test_wrong_settings_are_told(args: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_settings(args)


def test_the_key_has_the_name_that_the_server_knows() -> None:
    assert runtime.ray_app.KEY_VARIABLE == runtime.serve.KEY_VARIABLE


def test_ray_waits_for_the_longest_text_and_its_slowest_listener() -> None:
    settings = read_settings({"engine": "e", "max_text_bytes": 5000, "deadline": 7})
    options = deployment_options(settings)
    heard_seconds = settings.max_text_bytes / SLOWEST_SPEECH / MIN_SPEED
    assert options["graceful_shutdown_timeout_s"] >= settings.deadline + heard_seconds


def test_replicas_refuse_before_ray_does() -> None:
    settings = read_settings({"engine": "e", "streams": 6, "waiting": 3})
    options = deployment_options(settings)
    assert options["max_ongoing_requests"] > settings.streams + settings.waiting_texts
    target = options["autoscaling_config"]["target_ongoing_requests"]
    assert 0 < target < settings.streams, "another one is started while this one has room"


def test_the_file_for_clusters_has_settings_that_are_taken() -> None:
    [told] = yaml.safe_load(FILE.read_text())["applications"]
    assert told["import_path"] == f"{make_application.__module__}:{make_application.__name__}"
    settings = read_settings(told["args"])
    assert settings.min_replicas > 1


def test_ray_takes_the_file_for_clusters() -> None:
    pytest.importorskip("ray")
    from ray.serve.schema import ServeDeploySchema

    ServeDeploySchema.model_validate(yaml.safe_load(FILE.read_text()))


# On a cluster.


class Cluster:
    """Ray on this machine, with the application on it. faults: see `ray_faults`."""

    def __init__(self, url: str, engine: Path, faults: Path) -> None:
        self.url, self.engine, self.faults = url, engine, faults

    def deploy(self, **settings: Any) -> None:
        from ray import serve

        told = {"engine": str(self.engine), "streams": STREAMS, "waiting": WAITING}
        self.pace(0)
        serve.run(make_application(told | {"warm_up": "Abc."} | settings))

    def pace(self, seconds: float) -> None:
        """How long a step takes from now on."""
        new = self.faults / "new"
        new.write_text(str(seconds))
        new.replace(self.faults / "seconds")

    def speak(self, text: str = SENTENCE, *, patience: float = 60, **fields: Any) -> httpx.Response:
        url = f"{self.url}/v1/audio/speech"
        return httpx.post(url, json=body(text, **fields), timeout=patience)

    @contextmanager
    def listening(self, text: str = LONG, **fields: Any) -> Iterator[Iterator[bytes]]:
        """A listener to whom the first audio has come."""
        asked = body(text, **fields)
        url = f"{self.url}/v1/audio/speech"
        with httpx.stream("POST", url, json=asked, timeout=60) as answer:
            assert answer.status_code == 200
            parts = answer.iter_raw()
            assert next(parts)
            yield parts

    def load(self) -> dict[str, Any]:
        told: dict[str, Any] = httpx.get(f"{self.url}/health", timeout=60).json()
        return told

    def is_idle(self) -> bool:
        load = self.load()
        return (load["speaking"], load["waiting"]) == (0, 0)


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"input": text, "voice": "plain", "response_format": "pcm", "seed": 5} | fields


def read(parts: Iterator[bytes]) -> tuple[bytes, bool]:
    """What comes, and whether it was cut off."""
    heard = b""
    try:
        for part in parts:
            heard += part
    except CUT:
        return heard, True
    return heard, False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    ray = pytest.importorskip("ray")
    from ray import serve

    folder = tmp_path_factory.mktemp("ray")
    engine = write_bundle(
        folder / "engine", Scenario(heads=12, codes_a=range(40), frames_per_token=100.0)
    )
    environment = {
        "worker_process_setup_hook": ray_faults.install,
        "env_vars": {ray_faults.VARIABLE: str(folder), "OMP_NUM_THREADS": "1"},
    }
    (folder / "seconds").write_text("0")
    # Otherwise a busy machine starts no replica for minutes; Ray takes the name as it is.
    os.environ.update({"RAY_worker_niceness": "0"})
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        yield Cluster(f"http://127.0.0.1:{port}", engine, folder)
    finally:
        serve.shutdown()
        ray.shutdown()


@pytest.fixture(scope="module")
def one(cluster: Cluster) -> Cluster:
    """One replica."""
    cluster.deploy(max_replicas=1)
    return cluster


def test_says_what_a_single_server_says(one: Cluster) -> None:
    fields: dict[str, Any] = {"response_format": "wav"}
    with serving(TTS.load(one.engine, threads=1)) as alone:
        expected = httpx.post(f"{alone.url}/v1/audio/speech", json=body(SENTENCE, **fields))
    answer = one.speak(**fields)
    assert answer.status_code == 200
    assert answer.content == expected.content
    assert one.load()["status"] == "ready", "it takes requests only when it has warmed up"


def test_audio_comes_while_it_is_made(one: Cluster) -> None:
    one.pace(0.005)
    with one.listening() as parts:
        assert one.load()["speaking"] == 1
        one.pace(0)
        assert len([*parts]) > 5, "pieces are not joined on the way"
    until(one.is_idle)


def test_a_websocket_says_the_same(one: Cluster) -> None:
    with connect(one.url.replace("http", "ws", 1) + PATH) as socket:
        _, audio = Caller(socket).say(SENTENCE, **(NATIVE | {"seed": 5}))
    assert audio == one.speak(sample_rate=NATIVE["sample_rate"]).content
    until(one.is_idle)


def test_who_leaves_a_websocket_frees_the_row(one: Cluster) -> None:
    one.pace(0.02)
    with connect(one.url.replace("http", "ws", 1) + PATH) as socket:
        caller = Caller(socket)
        caller.send("session.config", **NATIVE)
        caller.send("input.text", text=LONG)
        while not isinstance(caller.next(), bytes):
            pass
        assert one.load()["speaking"] == 1
    until(one.is_idle, 5)


def test_who_leaves_frees_the_row(one: Cluster) -> None:
    one.pace(0.02)
    with one.listening():
        assert one.load()["speaking"] == 1
    until(one.is_idle, 3)


@pytest.mark.parametrize("fields", [{}, {"stream_format": "sse"}])
def test_a_failure_in_the_middle_is_no_end(one: Cluster, fields: dict[str, Any]) -> None:
    one.pace(0.005)
    broken = one.faults / "broken"
    try:
        with one.listening(**fields) as parts:
            broken.write_text("5")
            heard, is_cut = read(parts)
    finally:
        broken.unlink()
    assert is_cut
    if fields:
        last = json.loads(heard.decode().split("data: ")[-1])
        assert last["type"] == "speech.audio.error"
    assert one.speak().status_code == 200


def test_a_full_replica_refuses_as_openai_does(one: Cluster) -> None:
    one.pace(0.02)
    with ExitStack() as listeners:
        for _ in range(STREAMS):
            listeners.enter_context(one.listening())
        waiting = [threading.Thread(target=one.speak) for _ in range(WAITING)]
        for thread in waiting:
            thread.start()
        until(lambda: one.load()["waiting"] == WAITING)
        refused = one.speak()
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    one.pace(0)
    for thread in waiting:
        thread.join(60)
    until(one.is_idle)


def test_a_replica_that_dies_ends_no_body_and_is_replaced(one: Cluster) -> None:
    import ray

    one.pace(0.005)
    with one.listening() as parts:
        [replica] = [
            named
            for named in ray.util.list_named_actors(all_namespaces=True)
            if "SERVE_REPLICA" in named["name"]
        ]
        ray.kill(ray.get_actor(**replica))
        _, is_cut = read(parts)
    assert is_cut
    one.pace(0)
    until(lambda: speaks_at_once(one))


def test_an_upgrade_leaves_no_gap(one: Cluster) -> None:
    has_ended, statuses = threading.Event(), []

    def keep_asking() -> None:
        while not has_ended.is_set():
            statuses.append(one.speak("Abc.").status_code)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    one.deploy(max_replicas=1, deadline=29)
    has_ended.set()
    asking.join(60)
    assert {*statuses} == {200}


def test_more_listeners_get_more_replicas(cluster: Cluster) -> None:
    cluster.deploy(max_replicas=2, upscale_seconds=0.5)
    cluster.pace(0.02)
    with ExitStack() as listeners:
        for _ in range(STREAMS):
            listeners.enter_context(cluster.listening())
        until(lambda: count_replicas() == 2)
        until(lambda: speaks_at_once(cluster))  # at the first one it would have to wait


def speaks_at_once(cluster: Cluster) -> bool:
    """Ray's proxy hears of a new replica a little later."""
    try:
        return cluster.speak("Abc.", patience=3).status_code == 200
    except httpx.TimeoutException:
        return False


def count_replicas() -> int:
    from ray import serve

    states = serve.status().applications["default"].deployments["Speech"].replica_states
    return int(states.get("RUNNING", 0))


def test_the_end_waits_for_who_listens(cluster: Cluster) -> None:
    """It is the last test: nothing is left after it."""
    from ray import serve

    cluster.deploy(max_replicas=1)
    whole = len(cluster.speak(LONG).content)
    cluster.pace(0.004)
    with cluster.listening() as parts:
        ending = threading.Thread(target=serve.delete, args=("default",))
        ending.start()
        until(lambda: is_gone(cluster.url))
        assert ending.is_alive(), "it has not ended, but takes nobody any more"
        heard = sum(map(len, parts))
    assert 0 < whole - heard < whole / 2, "all but the first piece"
    ending.join(60)
    assert not ending.is_alive()


def is_gone(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=60).status_code == 404
    except (httpx.HTTPError, http.client.HTTPException):
        return False
