"""`python -m runtime.serve --wyoming-port`: what it says and refuses; and the announcement."""

from __future__ import annotations

import re
import socket

import pytest

from commands.errors import UserError
from runtime import serve
from runtime.serving.wyoming import announcing
from runtime.serving.wyoming.announcing import SERVICE, announced
from runtime.speech.synthesis import TTS
from tests.runtime.serving.test_command import command
from tests.runtime.serving.wyoming import home_assistant
from tests.runtime.serving.wyoming.conftest import run


def test_both_ports_are_served(tts: TTS) -> None:
    folder = str(tts.bundle.folder)
    options = ("--engine", folder, "--rows", "2", "--warm-up", "Abc.", "--threads", "1")
    wyoming = ("--wyoming-port", "0", "--language", "en-GB")
    with command(*options, *wyoming) as (process, said, _):
        port = next(
            int(found.group(1))
            for line in said
            if (found := re.fullmatch(r"Wyoming on tcp://127.0.0.1:(\d+)", line))
        )
        info = run(home_assistant.load_info(port))
        assert info.tts[0].voices[0].languages == ["en-GB"]
        process.terminate()
    assert any(line.startswith("warning: Wyoming knows no keys") for line in said)
    assert said[-1] == "ended"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--wyoming-port", "0"), "does not say which language"),
        (("--announce",), "--announce needs --wyoming-port"),
        (("--wyoming-port", "0", "--announce", "--language", "en"), "cannot reach 127.0.0.1"),
        (("--wyoming-port", "{taken}"), "give another --wyoming-port"),
    ],
)
def test_refusals(
    tts: TTS, options: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [option.replace("{taken}", port) for option in options]
        bundle = ["--engine", str(tts.bundle.folder), "--rows", "1", "--port", "0"]
        assert serve.main([*bundle, *given]) == 2
    assert why in capsys.readouterr().err


def test_the_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loopback interface: a test must not talk to the network."""
    zeroconf = pytest.importorskip("zeroconf")
    monkeypatch.setattr(announcing, "addresses_of", lambda _: ["127.0.0.1"])
    try:
        listening = zeroconf.Zeroconf(interfaces=["127.0.0.1"])
    except OSError as error:
        pytest.skip(f"no multicast here: {error}")
    with listening, announced("demo engine", "127.0.0.1", 10_200):
        machine = re.sub(r"[^\w-]+", "-", socket.gethostname())
        name = f"demo-engine-{machine}"[:63]
        info = listening.get_service_info(SERVICE, f"{name}.{SERVICE}", timeout=60_000)
        assert info is not None
        assert (info.port, info.parsed_addresses()) == (10_200, ["127.0.0.1"])


def test_addresses_that_others_reach() -> None:
    with pytest.raises(UserError, match="other machines cannot reach"):
        announcing.addresses_of("localhost")
    with pytest.raises(UserError, match="cannot reach 127"):
        announcing.addresses_of("127.0.0.1")
    assert announcing.addresses_of("192.0.2.7") == ["192.0.2.7"]


def test_all_addresses_but_this_machines_own_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    zeroconf = pytest.importorskip("zeroconf")
    monkeypatch.setattr(zeroconf, "get_all_addresses", lambda: ["127.0.0.1", "192.0.2.7"])
    assert announcing.addresses_of("0.0.0.0") == ["192.0.2.7"]
