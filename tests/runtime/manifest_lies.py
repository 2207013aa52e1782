"""Manifests that lie: hashes hold, but numbers, names, types, shapes or entries were changed.

In: a manifest as JSON and a random generator. Out: what was changed, and the changed manifest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Path = tuple[Any, ...]
UNTOUCHED = ("files", "built_with", "checks")  # hashes hold; nothing is read from the others
DTYPES = ("float32", "float16", "bfloat16", "int64", "int32", "bool")
NUMBERS = (-(2**63), -1, 0, 1, 2, 3, 7, 64, 1025, 10**5, 2**20, 2**31 - 1, 2**31, 2**40, 2**62)


EVERYWHERE = 0.3  # of lies: all places that hold the same value, which then fit each other


def tell_lie(manifest: dict[str, Any], random: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """Change one place, or every place of the same value."""
    changed = copy.deepcopy(manifest)
    places = [path for path in _walk(manifest) if path[0] not in UNTOUCHED]
    while True:
        path = places[random.integers(len(places))]
        holder = _at(changed, path[:-1])
        value = holder[path[-1]]
        lie = _LIES[type(value)](value, random, changed)
        if lie != value:
            holder[path[-1]] = lie
            if random.random() < EVERYWHERE:
                for same in places:
                    if _find(manifest, same) == value and _find(changed, same[:-1]) is not None:
                        _find(changed, same[:-1])[same[-1]] = lie
            return f"{'.'.join(map(str, path))}: {str(value)[:60]} -> {str(lie)[:60]}", changed


def _walk(node: Any, path: Path = ()) -> Iterator[Path]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from _walk(value, (*path, key))


def _at(node: Any, path: Path) -> Any:
    for key in path:
        node = node[key]
    return node


def _find(node: Any, path: Path) -> Any:
    """What is there, or None if a change above it has taken it away."""
    try:
        return _at(node, path)
    except (KeyError, IndexError, TypeError):
        return None


def _number(value: float, random: np.random.Generator, _: Any) -> Any:
    near = [value + 1, value - 1, value * 2, -value, value / 2, value * 1e9, str(value), None]
    return _pick([*near, *NUMBERS], random)


def _flag(value: bool, random: np.random.Generator, _: Any) -> Any:
    return not value


def _string(value: str, random: np.random.Generator, manifest: dict[str, Any]) -> Any:
    """Another type, a name from elsewhere, or none."""
    if value in DTYPES and random.random() < 0.7:
        return _pick(DTYPES, random)
    others = [_at(manifest, path) for path in _walk(manifest)]
    return _pick(
        [_pick([one for one in others if isinstance(one, str)], random), "", value[:-1], 5, None],
        random,
    )


def _nothing(value: None, random: np.random.Generator, _: Any) -> Any:
    return _pick([0, 1, "plain", []], random)


def _list(value: list[Any], random: np.random.Generator, _: Any) -> Any:
    if not value:
        return [_pick([0, 1, "x"], random)]
    index = random.integers(len(value))
    without, twice = value[:index] + value[index + 1 :], [*value, value[index]]
    shuffled = [value[at] for at in random.permutation(len(value))]
    return _pick([without, twice, value[::-1], [], shuffled], random)


def _dict(value: dict[str, Any], random: np.random.Generator, _: Any) -> Any:
    if not value:
        return {"x": 1}
    names = list(value)
    one, other = _pick(names, random), _pick(names, random)
    swapped = value | {one: value[other], other: value[one]}
    without = {name: inner for name, inner in value.items() if name != one}
    return _pick([without, swapped, without | {f"{one}x": value[one]}, {}], random)


def _pick(choices: Any, random: np.random.Generator) -> Any:
    return choices[random.integers(len(choices))]


_LIES: dict[type, Callable[..., Any]] = {
    int: _number,
    float: _number,
    bool: _flag,
    str: _string,
    type(None): _nothing,
    list: _list,
    dict: _dict,
}
