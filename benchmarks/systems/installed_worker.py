"""What an environment holds, told by its own Python.

    PYTHON -m benchmarks.systems.installed_worker [FILE …]

In: files and folders that a system needs besides. Out: a line of JSON: `versions` of its packages,
and `size_bytes` of its packages and these files, without pip, setuptools and compiled bytecode.
Needs the standard library only.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
BYTECODE = "__pycache__"


def size_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    found = (file for file in path.rglob("*") if BYTECODE not in file.parts)
    return sum(file.stat().st_size for file in found if file.is_file() and not file.is_symlink())


def packages() -> list[Path]:
    """What lies in the environment's folder of packages."""
    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    entries = (entry for place in sorted(places) for entry in Path(place).iterdir())
    return [entry for entry in entries if not entry.name.startswith((*TOOLS, BYTECODE))]


def main() -> None:
    """Print one line."""
    versions = {found.metadata["Name"]: found.version for found in distributions()}
    wanted = [*packages(), *map(Path, sys.argv[1:])]
    print(json.dumps({"versions": versions, "size_bytes": sum(map(size_bytes, wanted))}))


if __name__ == "__main__":
    main()
