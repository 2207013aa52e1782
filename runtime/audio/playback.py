"""Play audio while it is being made.

In: 16-bit PCM bytes, piece by piece. Out: sound, through the first player found on this machine: a
program that reads raw PCM from its input, a program that plays a file at the end, or the package
sounddevice. It does not know where the audio comes from.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from commands.errors import UserError
from commands.standard_streams import is_broken_pipe

if TYPE_CHECKING:
    from typing_extensions import Self

_PIPED = {
    "pw-cat": "-p --format s16 --rate {rate} --channels 1 -",
    "paplay": "--raw --format=s16le --rate={rate} --channels=1",
    "aplay": "-q -t raw -f S16_LE -r {rate} -c 1 -",
    "ffplay": "-loglevel error -nodisp -autoexit -f s16le -ar {rate} -",
}
_FILE_PLAYER = "afplay"  # macOS: plays files only
_NO_PLAYER = (
    f"nothing here can play audio: install one of {', '.join(_PIPED)} "
    "or `pip install sounddevice`, or write a file with -o"
)
MAX_COMPLAINT_BYTES = 500
SECONDS_TO_COMPLAIN = 1.0
_TAIL_SECONDS = 0.2  # silence at the end, because some players cut the last buffer


class Player(ABC):
    """A context manager. Leaving it waits until all has been played, except after an error."""

    @abstractmethod
    def write(self, pcm: bytes) -> None: ...

    @abstractmethod
    def finish(self) -> None:
        """Return when everything has been played."""

    @abstractmethod
    def stop(self) -> None:
        """Stop playing at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.stop()


def open_player(rate_hz: int) -> Player:
    """The best player of this machine for 16-bit mono PCM at `rate_hz`.

    Raises:
        UserError: there is none, or it has no device to play on.
    """
    for program, options in _PIPED.items():
        if path := shutil.which(program):
            return PipedPlayer([path, *options.format(rate=rate_hz).split()], rate_hz)
    if path := shutil.which(_FILE_PLAYER):
        return FilePlayer(path, rate_hz)
    try:
        return DevicePlayer(rate_hz)
    except (ImportError, OSError):  # the package, or its PortAudio library, is missing
        raise UserError(_NO_PLAYER) from None


def require_player() -> None:
    """Check that something here can play, before any work is done; no device is opened.

    Raises:
        UserError: there is no player.
    """
    if any(map(shutil.which, (*_PIPED, _FILE_PLAYER))):
        return
    try:
        import_module("sounddevice")
    except (ImportError, OSError):  # the package, or its PortAudio library, is missing
        raise UserError(_NO_PLAYER) from None


class PipedPlayer(Player):
    """A program that reads PCM from its standard input."""

    def __init__(self, command: list[str], rate_hz: int) -> None:
        self._name = Path(command[0]).name
        self._tail = bytes(2 * round(_TAIL_SECONDS * rate_hz))
        # A pipe that nobody reads would fill up and block the program.
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the player is done)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._messages
        )

    def write(self, pcm: bytes) -> None:
        try:
            self._stdin.write(pcm)
            self._stdin.flush()
        except OSError as error:
            if not is_broken_pipe(error):
                raise
            with suppress(subprocess.TimeoutExpired):  # it stops reading before it says why
                self._process.wait(SECONDS_TO_COMPLAIN)
            raise UserError(f"{self._name} stopped: {self._complaint()}") from None

    def finish(self) -> None:
        self.write(self._tail)
        self._stdin.close()
        with self._messages:
            if self._process.wait() != 0:
                raise UserError(f"{self._name} failed: {self._complaint()}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._messages.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _complaint(self) -> str:
        self._messages.seek(0)
        said = self._messages.read(MAX_COMPLAINT_BYTES).decode(errors="replace").strip()
        return said or "it says no reason"


class FilePlayer(Player):
    """A program that plays a WAV file, once everything has been written."""

    def __init__(self, program: str, rate_hz: int) -> None:
        self._program = program
        self._rate_hz = rate_hz
        self._pcm = bytearray()

    def write(self, pcm: bytes) -> None:
        self._pcm += pcm

    def finish(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/speech.wav"
            with wave.open(path, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(self._rate_hz)
                file.writeframes(self._pcm)
            if subprocess.run([self._program, path], check=False).returncode != 0:
                raise UserError(f"{self._program} failed; write a file with -o")

    def stop(self) -> None:
        """Nothing has been played yet."""


class DevicePlayer(Player):
    """The package sounddevice."""

    def __init__(self, rate_hz: int) -> None:
        self._sounddevice = import_module("sounddevice")  # optional, so it is looked up by name
        with self._explained():
            self._stream = self._sounddevice.RawOutputStream(rate_hz, channels=1, dtype="int16")
            self._stream.start()

    def write(self, pcm: bytes) -> None:
        with self._explained():
            self._stream.write(pcm)

    def finish(self) -> None:
        with self._explained():
            self._stream.stop()
            self._stream.close()

    def stop(self) -> None:
        """Ignores errors of PortAudio: the error that led here matters."""
        with suppress(self._sounddevice.PortAudioError):
            self._stream.abort()
            self._stream.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn PortAudio's errors into `UserError`: no device, a device in use, or unplugged."""
        try:
            yield
        except self._sounddevice.PortAudioError as error:
            said = " ".join(str(error).split())
            raise UserError(
                f"cannot play: {said}; choose another device in the system's settings, "
                "or write a file with -o"
            ) from None
