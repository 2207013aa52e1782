"""What judges have said, kept by the audio that they heard: asking again costs nothing.

In: audio, a judge's identity and the judge. Out: its answer, from a file of JSON lines if it is
there:

    {"judge": "whisper, faster-whisper 1.2.1, …", "audio": "9f86d081…", "answer": "They know it."}

Each answer is written as soon as it is given, so an evaluation that was cut off goes on where it
was. It knows nothing of what an answer means.
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
    """Answers in `path`, a file that grows; without a path they are only asked for."""

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
        """What `judge` says about audio float32 [n], a JSON value. `judge` names it with its
        version: another version is another judge."""
        digest = hashlib.sha256(np.ascontiguousarray(audio, np.float32).tobytes()).hexdigest()
        if (judge, digest) not in self._answers:
            self._answers[judge, digest] = given = ask(audio)
            self._append({"judge": judge, "audio": digest, "answer": given})
        return self._answers[judge, digest]

    def _read(self, path: Path) -> None:
        for line in path.read_text(encoding="utf-8").split("\n"):  # texts hold other line ends
            try:
                entry = json.loads(line)
                self._answers[entry["judge"], entry["audio"]] = entry["answer"]
            except (ValueError, KeyError, TypeError):
                continue  # the line that an interruption cut: it is asked for again

    def _append(self, entry: dict[str, Any]) -> None:
        if self._path is None:
            return
        text = json.dumps(entry, ensure_ascii=False)
        with self._path.open("a+b") as file:
            file.seek(max(file.seek(0, 2) - 1, 0))
            begins_a_line = file.read(1) in (b"", b"\n")
            file.write((b"" if begins_a_line else b"\n") + text.encode("utf-8") + b"\n")
