"""Finds the paths of a configuration: first beside the file, then in the working folder.

In: a dataclass of settings with the paths of its file, and the file. Out: the same settings with
paths that exist. A relative path is looked for in the folder of the file, in the folders of the
files that it extends, and in the working folder, in this order. A match in the working folder is
reported. An `OutputPath` that does not exist yet is placed where the inputs are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_type_hints

from commands.errors import UserError
from formats.files.strict_fields import extended_files

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

InputFile = Annotated[str, "file"]
InputFolder = Annotated[str, "folder"]
BaseModel = Annotated[str, "base model"]  # a folder; hubs have it by name
OutputPath = Annotated[str, "output"]
_PRESENT: dict[str, Callable[[Path], bool]] = {
    "file": Path.is_file,
    "folder": Path.is_dir,
    "base model": Path.is_dir,
    "output": Path.exists,
}
NO_PATHS = ("phonemes",)  # a value of `tokenizer` that is no folder
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def locate_paths(settings: T, file: Path) -> T:
    """The settings of `file` with paths that exist. Raises `UserError` naming every place that was
    searched."""
    folders: dict[Path, Path] = {}
    for folder in (*(path.parent for path in extended_files(file)), Path()):
        folders.setdefault(folder.resolve(), folder)
    locator = _Locator(file, list(folders.values()))
    located = locator.locate(settings)
    return locator.place_outputs(located)


class _Locator:
    def __init__(self, file: Path, folders: Sequence[Path]) -> None:
        self._file = file
        self._folders = folders
        self._found_in: list[Path] = []

    def locate(self, settings: T) -> T:
        """The dataclass with its inputs located, also in nested dataclasses and tuples."""
        hints = get_type_hints(type(settings), include_extras=True)
        changes: dict[str, Any] = {}
        for field in fields(settings):
            value = getattr(settings, field.name)
            kind = path_kind(hints[field.name])
            if value is None or kind == "output":
                continue
            if kind is not None:
                changes[field.name] = self._find(value, kind, field.name)
            elif isinstance(value, tuple):
                changes[field.name] = tuple(map(self._locate_within, value))
            else:
                changes[field.name] = self._locate_within(value)
        return replace(settings, **changes)

    def _locate_within(self, value: Any) -> Any:
        """A dataclass with its inputs located; any other value unchanged."""
        return self.locate(value) if is_dataclass(value) and not isinstance(value, type) else value

    def place_outputs(self, settings: T) -> T:
        """Existing outputs are used. New ones are placed where the first input was found."""
        hints = get_type_hints(type(settings), include_extras=True)
        names = [f.name for f in fields(settings) if path_kind(hints[f.name]) == "output"]
        return replace(settings, **{name: self._place(getattr(settings, name)) for name in names})

    def _place(self, value: str) -> str:
        homes = [folder for folder in self._folders if (folder / value).exists()]
        return str((homes or self._found_in or self._folders)[0] / value)

    def _find(self, value: str, kind: str, key: str) -> str:
        if value in NO_PATHS:
            return value
        for folder in self._folders:
            if _PRESENT[kind](folder / value):
                self._tell(value, folder)
                return str(folder / value)
        raise UserError(f"{self._file}: {key!r}: {self._describe_missing(value, kind)}")

    def _tell(self, value: str, folder: Path) -> None:
        if Path(value).is_absolute():
            return
        self._found_in.append(folder)
        if folder == Path() and self._folders[0].resolve() != Path().resolve():
            print(f"{self._file}: {value} is taken from the working folder", file=sys.stderr)

    def _describe_missing(self, value: str, kind: str) -> str:
        tried = list(dict.fromkeys(str(self._show(folder) / value) for folder in self._folders))
        missing = f"{tried[0]}: no such {'file' if kind == 'file' else 'folder'}"
        if tried[1:]:
            missing += (
                f", nor {' nor '.join(tried[1:])} (paths are relative to the file that names "
            )
            missing += "them, or to the working folder)"
        if kind != "base model":
            return missing
        return f"{missing}; nothing is downloaded: {_explain_download(value)}"

    @staticmethod
    def _show(folder: Path) -> Path:
        return folder if folder != Path() else Path.cwd()


def path_kind(hint: Any) -> str | None:
    """The kind of path that a field holds, or None if it holds no path."""
    for part in (hint, *get_args(hint)):
        for mark in getattr(part, "__metadata__", ()):
            if mark in _PRESENT:
                return str(mark)
    return None


def _explain_download(value: str) -> str:
    if not _HUB_NAME.fullmatch(value):
        return "name a folder with config.json, tokenizer.json and model.safetensors"
    folder = value.rpartition("/")[2]
    return f"get it with hf download {value} --local-dir {folder}, then name the folder {folder}"
