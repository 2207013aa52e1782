"""Write requirements.lock: the versions that tests ran with, for every Python that is supported.

In: the file, the Python of an environment with everything, and that of one for Python 3.10. Out: a
file of constraints for pip. Where Python 3.10 has another version, as packages end their support
for it, there are two lines, and pip takes the one that fits.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

NEWER, OLDER = '; python_version >= "3.11"', '; python_version < "3.11"'


def main(lock: Path, newer_python: str, older_python: str) -> None:
    newer, older = _installed(newer_python), _installed(older_python)
    lines = [
        line
        for name in newer.keys() | older.keys()
        for line in _pins(newer.get(name), older.get(name))
    ]
    lines.sort(key=lambda line: (line.partition("==")[0].lower(), line.endswith(OLDER)))
    unfinished = lock.with_suffix(".unfinished")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(unfinished, lock)


def _pins(newer: str | None, older: str | None) -> list[str]:
    """Lines of one package. older: without one, Python 3.10 has not been seen to differ."""
    if newer is not None and (older is None or _version(newer) == _version(older)):
        return [newer]
    return [pin + fits for pin, fits in ((newer, NEWER), (older, OLDER)) if pin is not None]


def _version(pin: str) -> str:
    return pin.partition("==")[2]


def _installed(python: str) -> dict[str, str]:
    """`name==version` by the name as it is compared."""
    command = [python, "-m", "pip", "freeze", "--exclude-editable"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.removesuffix("+cpu") for line in frozen.splitlines()]  # a build of PyTorch
    return {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower(): line for line in lines}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
