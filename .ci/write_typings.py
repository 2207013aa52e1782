"""Write stubs of compiled packages, so that mypy checks calls to them.

In: a folder. Out: stubs of `tensorrt_rtx` and `cuda.bindings.runtime` in it, if they are installed.
The packages carry no types; mypy's stubgen reads the signatures in their docstrings.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

from mypy.stubgen import main as stubgen

# Compiled module -> the name under which the code imports it.
MODULES = {
    "tensorrt_rtx_bindings.tensorrt_rtx": "tensorrt_rtx",
    "cuda.bindings.runtime": "cuda.bindings.runtime",
}


def main(folder: Path) -> None:
    for module, name in MODULES.items():
        if importlib.util.find_spec(module.split(".")[0]) is None:
            continue
        stubgen(["--quiet", "--inspect-mode", "-m", module, "-o", str(folder)])
        written = folder / Path(*module.split(".")).with_suffix(".pyi")
        stub = "# mypy: ignore-errors\n" + "\n".join(
            filter(_is_valid, written.read_text(encoding="utf-8").split("\n"))
        )
        written.unlink()
        target = folder / Path(*name.split(".")).with_suffix(".pyi")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(stub, encoding="utf-8")


def _is_valid(line: str) -> bool:
    """Whether a line of a stub can stay.

    Some docstrings put a parameter without a default after one with a default, and a data type
    called bool would hide Python's.
    """
    if line.startswith("bool:"):
        return False
    if not line.lstrip().startswith("def "):
        return True
    try:
        ast.parse(line.strip())
    except SyntaxError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
