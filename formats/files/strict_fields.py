"""Frozen dataclasses from JSON or YAML objects, read strictly.

In: a file, or a mapping of plain values. Out: the dataclass, or one `UserError` that names the
file, the key and the right value. The message about an unknown key suggests the nearest known one.
It understands int, float, str, bool, Literal, `X | None`, tuple[X, ...] and nested dataclasses. The
dataclass itself checks ranges and relations between fields.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from commands.errors import UserError
from formats.files.text_files import read_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
JSON_SIZE_LIMIT = 16 * 2**20  # bytes; configurations are much smaller


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of settings, merged with the file that it extends.

    `extends: FILE`, relative to the folder of the file, takes all keys from FILE that the file does
    not set, at every level. Lists are replaced. Raises `UserError` naming the file.
    """
    (_, values), *extended = _load_chain(path)
    for base, more in extended:
        if not isinstance(more, dict):
            raise UserError(f"{base}: must be an object of keys, not {more!r}")
        values = _merge(more, values)
    return values


def extended_files(path: Path) -> list[Path]:
    """The file and those that it extends, directly or not, in this order. Raises `UserError`."""
    return [file for file, _ in _load_chain(path)]


def _load_chain(path: Path) -> list[tuple[Path, Any]]:
    chain, seen = [(path, _load_yaml(path))], {path.resolve()}
    while isinstance(values := chain[-1][1], dict) and "extends" in values:
        base = values.pop("extends")
        if not isinstance(base, str):
            raise UserError(f"{path}: 'extends' must name a file, not {base!r}")
        path = path.parent / base
        if path.resolve() in seen:
            raise UserError(f"{path}: 'extends' leads back to this file")
        seen.add(path.resolve())
        chain.append((path, _load_yaml(path)))
    return chain


def _load_yaml(path: Path) -> Any:
    import yaml

    if not path.is_file():
        raise UserError(f"{path}: no such configuration file")
    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None


def _merge(base: Any, values: Any) -> Any:
    """`values`, and if both are objects, also the keys that only `base` has."""
    if not (isinstance(base, dict) and isinstance(values, dict)):
        return values
    return base | {key: _merge(base.get(key), value) for key, value in values.items()}


def read_json(path: Path, owner: str) -> dict[str, Any]:
    """The object in a JSON file of a folder of the kind `owner`. Raises `UserError`."""
    if not path.is_file():
        raise UserError(f"{path}: not found; {owner} is a directory with a {path.name}")
    if path.stat().st_size > JSON_SIZE_LIMIT:
        raise UserError(f"{path}: larger than {JSON_SIZE_LIMIT} bytes, so it is no {path.name}")
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: must hold a JSON object, not {type(values).__name__}")
    return values


def build_dataclass(kind: type[T], values: Any, where: str) -> T:
    """Make `kind` of `values`. Raises `UserError` that begins with `where`."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: must be an object of keys, not {values!r}")
    known = {field.name: field for field in fields(kind)}
    for key in values:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}; {_suggest(str(key), list(known))}")
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and name not in values:
            raise UserError(f"{where}: key {name!r} is missing")
    hints = get_type_hints(kind)
    return kind(
        **{key: _convert(hints[key], value, f"{where}: {key!r}") for key, value in values.items()}
    )


def _suggest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        return _convert(get_args(hint)[0], value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise UserError(f"{where} must be one of {list(get_args(hint))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} must be a list, not {value!r}")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if isinstance(hint, type) and is_dataclass(hint):
        return build_dataclass(hint, value, where)
    return _convert_plain(hint, value, where)


def _convert_plain(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)  # YAML 1.1 reads 1e-3 as a string
    accepted: Any = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where} must be of type {hint.__name__}, not {value!r}{_plainly(value)}")
    return float(value) if hint is float else value


def _plainly(value: Any) -> str:
    """How to write a whole number given as 1e5 or 5.0; empty for other values."""
    if isinstance(value, float) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        number = float(value)
        return f"; write {int(number)}" if number.is_integer() else ""
    return ""
