"""The three ways to play: what is heard in the end, and that an error is silent at once."""

from __future__ import annotations

import shutil
import stat
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands.errors import UserError
from runtime.audio.playback import DevicePlayer, FilePlayer, PipedPlayer, Player, open_player

PCM = bytes(range(240))  # 120 samples


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a shell and nothing that plays."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "cp", "head", "sleep"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sounddevice", None)


def install(name: str, script: str) -> None:
    program = Path("tools") / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


class Device:
    """Stands in for sounddevice's stream; `did` is what was asked of it."""

    def __init__(self, rate_hz: int, channels: int, dtype: str) -> None:
        self.did: list[object] = [(rate_hz, channels, dtype)]

    def write(self, pcm: bytes) -> None:
        self.did.append(pcm)

    def __getattr__(self, name: str) -> object:
        return lambda: self.did.append(name)


class PortAudioError(Exception):
    """As sounddevice has it: no OSError."""


class Unplugged(Device):
    """A device that is gone once it has been opened; `never` there, if it says so."""

    never = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if self.never:
            raise PortAudioError("Error querying device -1")
        super().__init__(*arguments, **options)

    def write(self, pcm: bytes) -> None:
        raise PortAudioError("Device unavailable\n[PaErrorCode -9985]")

    def abort(self) -> None:
        raise PortAudioError("Stream is not active")


class Absent(Unplugged):
    never = True


def install_package(monkeypatch: pytest.MonkeyPatch, stream: type[Device]) -> None:
    package = SimpleNamespace(RawOutputStream=stream, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", package)


def interrupt(player: Player) -> None:
    def write_and_break_off() -> None:
        player.write(PCM)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), player:
        write_and_break_off()


def test_a_program_that_reads_is_fed_piece_by_piece() -> None:
    install("paplay", 'echo "$@" > options; cat > heard')
    with open_player(16_000) as player:
        assert isinstance(player, PipedPlayer)
        player.write(PCM)
        player.write(PCM)
    heard = Path("heard").read_bytes()
    assert heard[:480] == 2 * PCM
    assert heard[480:] == bytes(2 * 3200)  # 0.2 s for players that cut the last buffer
    assert "--rate=16000" in Path("options").read_text()


def test_an_error_ends_the_program() -> None:
    install("aplay", "exec sleep 600")
    player = open_player(16_000)
    assert isinstance(player, PipedPlayer)
    interrupt(player)
    assert player._process.returncode not in (None, 0)


def test_a_program_for_files_plays_at_the_end() -> None:
    install("afplay", 'cp "$1" heard.wav')
    with open_player(22_050) as player:
        assert isinstance(player, FilePlayer)
        player.write(PCM)
        assert not Path("heard.wav").exists()
    with wave.open("heard.wav") as heard:
        assert heard.getparams()[:4] == (1, 2, 22_050, 120)
        assert heard.readframes(120) == PCM
    Path("heard.wav").unlink()
    interrupt(open_player(22_050))
    assert not Path("heard.wav").exists()


def test_a_program_for_files_that_fails_is_told() -> None:
    install("afplay", "exit 3")
    with pytest.raises(UserError, match="afplay failed; write a file with -o"), open_player(8000):
        pass


def test_the_package_plays_where_no_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(monkeypatch, Device)
    with open_player(16_000) as player:
        assert isinstance(player, DevicePlayer)
        player.write(PCM)
    assert player._stream.did == [(16_000, 1, "int16"), "start", PCM, "stop", "close"]
    player = open_player(16_000)
    assert isinstance(player, DevicePlayer)
    interrupt(player)
    assert player._stream.did[-2:] == ["abort", "close"]


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [(Absent, "Error querying device -1"), (Unplugged, "Device unavailable")],
)
def test_a_device_that_is_missing_taken_or_unplugged(
    monkeypatch: pytest.MonkeyPatch, stream: type[Device], complaint: str
) -> None:
    install_package(monkeypatch, stream)

    def play() -> None:
        with open_player(16_000) as player:
            player.write(PCM)

    with pytest.raises(UserError, match=f"cannot play: {complaint}.*write a file with -o"):
        play()


def test_a_program_that_ends_early_says_why() -> None:
    install("aplay", "echo no such device >&2; exit 1")
    player = open_player(16_000)

    def write_until_it_notices() -> None:
        for _ in range(100):
            player.write(PCM * 1000)

    with pytest.raises(UserError, match="aplay stopped: no such device"), player:
        write_until_it_notices()


def test_a_program_that_says_a_lot_is_not_held_up() -> None:
    """More than a pipe holds: it would wait for somebody to read, and we for it."""
    install("aplay", "head -c 200000 /dev/zero >&2; cat > heard")
    with open_player(16_000) as player:
        player.write(PCM)
    assert Path("heard").read_bytes()[:240] == PCM
