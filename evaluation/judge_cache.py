"""Answers of judges, stored by the audio that they heard: asking again costs nothing.

In: audio, the identity of a judge, and the judge. Out: its answer, from a file of JSON lines if it
is there:

    {"judge": "whisper, faster-whisper 1.2.1, …", "audio": "9f86d081…", "answer": "They know it."}

Each answer is written at once, so an interrupted evaluation continues where it stopped. This module
does not know what an answer means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class JudgeCache:
    """Answers in the file `path`, to which new ones are added. Without a path nothing is stored."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._answers: dict[tuple[str, str], Any] = {}
        if path is not None and path.is_file():
            self._read(path)

    def answer(
        self,
        judge: str,
        audio: NDArray[np.float32],
        ask: Callable[[NDArray[np.float32]], Any],
    ) -> Any:
        """The answer of `judge` about audio float32 [n], a JSON value. The name `judge` includes
        the version: another version is another judge."""
        digest = hashlib.sha256(np.ascontiguousarray(audio, np.float32).tobytes()).hexdigest()
        if (judge, digest) not in self._answers:
            self._answers[judge, digest] = given = ask(audio)
            self._append({"judge": judge, "audio": digest, "answer": given})
        return self._answers[judge, digest]

    def _read(self, path: Path) -> None:
        for line in path.read_text(encoding="utf-8").split("\n"):  # texts may hold other line ends
            try:
                entry = json.loads(line)
                self._answers[entry["judge"], entry["audio"]] = entry["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # a line that an interruption cut off: the judge is asked again

    def _append(self, entry: dict[str, Any]) -> None:
        if self._path is None:
            return
        text = json.dumps(entry, ensure_ascii=False)
        with self._path.open("a+b") as file:
            file.seek(max(file.seek(0, 2) - 1, 0))
            begins_a_line = file.read(1) in (b"", b"\n")
            file.write((b"" if begins_a_line else b"\n") + text.encode("utf-8") + b"\n")
