"""Which package may import which: the arrows of the architecture, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("runtime", "export", "train", "calibration")
SHARED = (
    *("runtime.bundle", "runtime.errors", "runtime.text", "runtime.audio", "runtime.files"),
    *("runtime.gpu_targets", "runtime.engine_check", "runtime.peak_memory", "runtime.folders"),
    *("runtime.frontends", "runtime.signs", "runtime.symbols", "runtime.speech"),
    *("runtime.command_line", "runtime.extras", "runtime.sessions.threads"),
)

# Importing package -> modules of the other packages that it may use.
ALLOWED: dict[str, tuple[str, ...]] = {
    "runtime": (),
    "train": (
        *("runtime.errors", "runtime.text", "runtime.audio", "runtime.files", "runtime.speech"),
        "runtime.folders",
        *("runtime.frontends", "runtime.signs", "runtime.symbols"),
        *("runtime.command_line", "runtime.extras"),
    ),
    "export": (*SHARED, "train"),
    "calibration": (*SHARED, "runtime", "export", "train"),
}
# Files that may use more: what judges bundles exports them and speaks with them, as any user does.
ALSO_ALLOWED: dict[str, tuple[str, ...]] = {
    "train/systems.py": ("runtime",),
    "train/evaluate_answers.py": ("runtime",),
    "train/learning_curve.py": ("runtime", "export.build"),
}
# Libraries that a package may not need, wherever in its files.
NEVER = {
    "runtime": ("torch", "onnx", "onnxscript", "onnx_ir", "transformers", "scipy"),
    "export": ("transformers",),
}
# Libraries that a package imports only inside the functions that need them.
LATE = {"export": ("torch",), "calibration": ("torch",)}

SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path, *, module_level: bool) -> Iterator[str]:
    """Dotted names that a file imports: all of them, or only those at import time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _run_at_import(tree) if module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes outside functions and outside `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not is_function and not is_typing:
            yield node
            yield from _run_at_import(node)


def starts_with(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    allowed = (*ALLOWED[package], *ALSO_ALLOWED.get(path.relative_to(ROOT).as_posix(), ()))
    others = tuple(other for other in PACKAGES if other != package)
    for name in imports(path, module_level=False):
        assert not starts_with(name, ("tests", "samples")), f"{name} is not part of the product"
        assert not starts_with(name, NEVER.get(package, ())), f"{package} may not need {name}"
        unasked = starts_with(name, others) and not starts_with(name, allowed)
        assert not unasked, f"{package} may not import {name}"
    for name in imports(path, module_level=True):
        late = starts_with(name, LATE.get(package, ()))
        assert not late, f"{package} imports {name} only inside functions"


def test_every_package_is_looked_at() -> None:
    for package in ("runtime", "export", "train"):
        assert any(path.is_relative_to(ROOT / package) for path in SOURCES)


def test_the_reader_of_imports_sees_them_all(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import a.b\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import c\n"
        "try:\n    from d import e\nexcept ImportError:\n    pass\n"
        "class X:\n    import f\n    def g(self):\n        import h\n"
    )
    early = ["a.b", "typing.TYPE_CHECKING", "d.e", "f"]
    assert sorted(imports(path, module_level=True)) == sorted(early)
    assert sorted(imports(path, module_level=False)) == sorted([*early, "c", "h"])
