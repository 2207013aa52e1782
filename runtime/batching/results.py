"""What becomes of a row: a sound file's bytes, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A row as a worker gets it. voice: a voice of the bundle; None: the command's. seed: None
    where the bundle decodes greedily."""

    id: str
    text: str
    voice: str | None
    seed: int | None


@dataclass(frozen=True)
class Spoken:
    """The result of a job.

    content: of its file; None if it failed. error: why, in one line. finished: False if a bound cut
    a sentence before the model ended it. warnings: what was not spoken as it was written.
    """

    id: str
    content: bytes | None = None
    seconds: float = 0.0
    finished: bool = False
    error: str | None = None
    warnings: tuple[str, ...] = ()
