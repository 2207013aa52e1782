"""What can be asked for speech: a server, or the scheduler in this process.

In: an `Ask`. Out: audio, piece by piece as it comes; or how it was refused or cut.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from benchmarks.serving.asking import Ask


class Refused(Exception):
    """There is too much to do: 429 or 503."""


class Rejected(Exception):
    """What was asked for cannot be spoken: another status from 400 to 499."""


class Broken(Exception):
    """It failed before its end."""


class Target(Protocol):
    """name: in words. voices: to choose from; none: the default one only. bytes_per_second: of
    audio."""

    name: str
    voices: tuple[str, ...]
    bytes_per_second: int

    def speak(self, ask: Ask) -> Generator[bytes, None, None]:
        """Pieces of audio, in any thread. Closing the iterator leaves.

        Raises:
            Refused, Rejected, Broken.
        """

    def garbage(self, number: int) -> None:
        """Ask for something that cannot be spoken, a different thing for each number.

        Raises:
            Rejected: as it must.
        """
