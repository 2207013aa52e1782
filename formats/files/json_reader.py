"""Reads a JSON object of another program, key by key.

In: a mapping of plain values. Out: values of the requested type, or one `UserError` that names the
file and the key. Other keys are ignored. `formats.files.strict_fields` reads files that only this
project writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from commands.errors import UserError

_LARGEST_INT = 2**31 - 1


class JsonReader:
    """Typed access to one JSON object. A key that holds null counts as absent."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self._where = where

    def fail(self, key: str, what: str) -> UserError:
        return UserError(f"{self._where}: {key!r} {what}")

    def get(self, key: str, default: Any) -> Any:
        value = self._values.get(key)
        if value is not None:
            return value
        if default is None:
            raise self.fail(key, "is missing")
        return default

    def integer(self, key: str, default: int | None = None, low: int = 1) -> int:
        value = self.get(key, default)
        if isinstance(value, float) and value.is_integer():  # tokenizers write 1e30 for "no limit"
            value = min(int(value), _LARGEST_INT)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.fail(key, f"must be a whole number of at least {low}, not {value!r}")
        return min(value, _LARGEST_INT)

    def positive(self, key: str, default: float | None = None) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(key, f"must be a number, not {value!r}")
        if not (math.isfinite(value) and value > 0):
            raise self.fail(key, f"must be finite and above 0, not {value!r}")
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, f"must be true or false, not {value!r}")
        return value

    def text(self, key: str, default: str) -> str:
        value = self.get(key, default)
        if not isinstance(value, str):
            raise self.fail(key, f"must be a string, not {value!r}")
        return value

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(key, default)
        if value not in allowed:
            raise self.fail(key, f"must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def section(self, key: str) -> JsonReader:
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise self.fail(key, f"must be an object, not {value!r}")
        return JsonReader(value, f"{self._where}: in {key!r}")

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def names(self) -> list[str]:
        """Keys with a value."""
        return [key for key in self._values if self.has(key)]

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty if absent."""
        value = self.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(key, f"must be a list of strings, not {value!r}")
        return value
