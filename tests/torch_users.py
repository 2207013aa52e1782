"""Which test files need PyTorch, for environments that have none: a device, Python 3.10.

In: a test file. Out: whether it imports PyTorch when it is imported, itself or through others. A
test that imports it later says so itself (`pytest.importorskip`).
"""

from __future__ import annotations

import functools
from pathlib import Path

from tests.test_imports import imports

ROOT = Path(__file__).parent.parent
TRAINING = {"torch", "transformers"}


def needs_torch(path: Path) -> bool:
    """Whether the import of a file of this clone fails without PyTorch."""
    seen, left = {path}, [path]
    while left:
        names = _imports(left.pop())
        if any(name.partition(".")[0] in TRAINING for name in names):
            return True
        found = {file for name in names for file in _files(name)} - seen
        seen |= found
        left += found
    return False


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    return frozenset(imports(path, module_level=True))


@functools.cache
def _files(name: str) -> list[Path]:
    """The files that are run when a dotted name is imported from this clone."""
    parts = name.split(".")
    stems = [ROOT.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    found = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return [file for file in found if file.is_file()]
