"""requirements.lock: how it is written, and that each Python finds one version of a package."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
NEWER, OLDER = '; python_version >= "3.11"', '; python_version < "3.11"'


def freezing(path: Path, *pins: str) -> Path:
    """A Python that has these packages installed."""
    path.write_text("#!/bin/sh\n" + "".join(f"echo '{pin}'\n" for pin in pins))
    path.chmod(0o755)
    return path


def test_versions_that_differ_have_a_line_for_each_python(tmp_path: Path) -> None:
    newer = freezing(tmp_path / "newer", "both==1.0", "Drops==2.0", "torch==2.13.0+cpu", "b_b==1")
    older = freezing(tmp_path / "older", "both==1.0", "Drops==1.9", "tomli==2.5.0", "b-b==1")
    lock = tmp_path / "requirements.lock"
    command = [sys.executable, *map(str, (ROOT / ".ci" / "write_lock.py", lock, newer, older))]
    subprocess.run(command, check=True)
    assert lock.read_text().splitlines() == [
        "b_b==1",
        "both==1.0",
        f"Drops==2.0{NEWER}",
        f"Drops==1.9{OLDER}",
        f"tomli==2.5.0{OLDER}",
        "torch==2.13.0",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["newer", "older", lock.name]


def test_every_python_finds_one_version_at_most() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    for other in (NEWER, OLDER):
        pins = [line.partition(";")[0] for line in lines if not line.endswith(other)]
        names = Counter(re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() for pin in pins)
        assert set(names.values()) == {1}, names.most_common(3)
