"""The arrows of the architecture: which package may import which, and no way round in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Importing package -> what it may import of the others.
ALLOWED: dict[str, tuple[str, ...]] = {
    "commands": (),
    "formats": ("commands",),
    "runtime": ("commands", "formats"),
    "train": ("commands", "formats", "runtime.text", "runtime.audio"),
    "export": ("commands", "formats", "runtime", "train"),
    "calibration": ("commands", "formats", "runtime", "export"),
    "evaluation": ("commands", "formats", "runtime", "train", "export"),
}
PACKAGES = tuple(ALLOWED)
BESIDES = ("benchmarks", "samples")  # they use the product; it does not know them
# Libraries that a package may not need, wherever in its files.
NEVER = {
    "runtime": ("torch", "onnx", "onnxscript", "onnx_ir", "transformers", "scipy"),
    "export": ("transformers",),
}
# Libraries that a package imports only inside the functions that need them.
LATE = {"formats": ("torch",), "export": ("torch",), "calibration": ("torch",)}

MAX_MODULES = 15  # of a folder, __init__ aside
MAX_LINES = 300  # of a file that does not say why it is one subject
LONG_FILE = "One subject:"  # so such a file's docstring begins to say why

SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
ALL_SOURCES = [
    *SOURCES,
    *(path for name in BESIDES for path in sorted((ROOT / name).rglob("*.py"))),
]


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


def module_name(path: Path) -> str:
    """The dotted name of a file; that of a package for its `__init__.py`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def module_graph(paths: list[Path]) -> dict[str, set[str]]:
    """Each module, and the modules of `paths` that it imports anywhere, type checking included."""
    modules = {module_name(path): path for path in paths}

    def find(name: str) -> str | None:
        """The module that holds `name`: it may itself be one, or something in one."""
        parent = name.rpartition(".")[0]
        return name if name in modules else parent if parent in modules else None

    return {
        module: {found for name in imports(path, module_level=False) if (found := find(name))}
        - {module}
        for module, path in modules.items()
    }


def folder_graphs(modules: Mapping[str, set[str]]) -> dict[str, dict[str, set[str]]]:
    """By folder: its files and folders, and which of them import something in which others."""
    graphs: dict[str, dict[str, set[str]]] = {}
    for importing, imported in modules.items():
        for name in imported:
            ours, others = importing.split("."), name.split(".")
            shared = 0
            while ours[shared : shared + 1] == others[shared : shared + 1] != []:
                shared += 1
            graph = graphs.setdefault(".".join(ours[:shared]), {})
            ends = [".".join(end[shared : shared + 1]) or "__init__" for end in (ours, others)]
            graph.setdefault(ends[0], set()).add(ends[1])
    return graphs


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """A way round in a circle, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    others = tuple(other for other in PACKAGES if other != package)
    for name in imports(path, module_level=False):
        assert not starts_with(name, ("tests", *BESIDES)), f"{name} is not part of the product"
        assert not starts_with(name, NEVER.get(package, ())), f"{package} may not need {name}"
        unasked = starts_with(name, others) and not starts_with(name, ALLOWED[package])
        assert not unasked, f"{package} may not import {name}"
    for name in imports(path, module_level=True):
        late = starts_with(name, LATE.get(package, ()))
        assert not late, f"{package} imports {name} only inside functions"


def test_no_file_imports_itself_through_others() -> None:
    assert find_cycle(module_graph(ALL_SOURCES)) == []


def test_folders_import_in_one_direction() -> None:
    """At every level: the files and folders of a folder do not import each other in a circle."""
    for folder, graph in folder_graphs(module_graph(ALL_SOURCES)).items():
        assert find_cycle(graph) == [], folder or "packages"


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in ALL_SOURCES}
    counts = {f.relative_to(ROOT): len([*f.glob("*.py")]) - 1 for f in folders}
    assert {str(folder): n for folder, n in counts.items() if n > MAX_MODULES} == {}


def test_long_files_say_why() -> None:
    for path in ALL_SOURCES:
        text = path.read_text(encoding="utf-8")
        says_why = LONG_FILE in (ast.get_docstring(ast.parse(text)) or "")
        assert len(text.splitlines()) <= MAX_LINES or says_why, path


def test_every_package_is_looked_at() -> None:
    for package in (*PACKAGES, *BESIDES):
        assert any(path.is_relative_to(ROOT / package) for path in ALL_SOURCES)
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders <= {*PACKAGES, *BESIDES, "tests"}


def test_circles_are_found(tmp_path: Path) -> None:
    modules = {"a.x.f": {"a.y.g"}, "a.y.h": {"a.x.k"}, "a.y.g": set(), "a.x.k": set()}
    assert find_cycle(modules) == []
    assert {*find_cycle(folder_graphs(modules)["a"])} == {"x", "y"}
    assert {*find_cycle({"a": {"b"}, "b": {"a"}})} == {"a", "b"}


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
