"""Figures as people read them: three significant digits and a unit.

In: seconds, bytes, rates, shares. Out: text. What is None was not measured and becomes a dash,
which `tables` explains where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

NOT_MEASURED = "–"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def significant(value: float, digits: int = 3) -> str:
    """1234.5 -> "1,234", 0.012345 -> "0.0123": no exponents, at least all whole digits."""
    if value == 0:
        return "0"
    exact = f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - int(exact.split("e")[1]))
    return f"{value:,.{min(decimals, 12)}f}"


def duration(seconds: float | None) -> str:
    """With the unit that suits: µs, ms or s."""
    if seconds is None:
        return NOT_MEASURED
    scale, unit = duration_unit(seconds)
    return f"{significant(seconds * scale)} {unit}"


def duration_unit(seconds: float) -> tuple[float, str]:
    """Units in a second, and their name, for values as large as this one."""
    size = abs(seconds)
    if size >= 0.9995:
        return 1.0, "s"
    return (1e3, "ms") if size >= 0.9995e-3 or size == 0 else (1e6, "µs")


def milliseconds(seconds: float | None) -> str:
    """Without the unit, for columns."""
    return NOT_MEASURED if seconds is None else significant(1000 * seconds)


def share(value: float | None) -> str:
    """0.123 -> "12.3 %"."""
    if value is None:
        return NOT_MEASURED
    percent = 100 * value
    return f"{percent:.0f} %" if abs(percent) >= 99.95 or percent == 0 else f"{percent:.1f} %"


def amount(value: float | None, unit: str) -> str:
    """With decimal prefixes: 11.1e6, "B" -> "11.1 MB"."""
    if value is None:
        return NOT_MEASURED
    for size, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * size:
            return f"{significant(value / size)} {prefix}{unit}"
    return f"{significant(value)} {unit}"


def round_number(value: float) -> str:
    """Without zeros at the end: 2.0 -> "2", 0.5 -> "0.5", 1500.0 -> "1,500"."""
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(number: int, noun: str) -> str:
    """3, "chunk" -> "3 chunks"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def tick_duration(seconds: float, most: float) -> str:
    """Of an axis up to `most`, in whose unit it is written."""
    scale, unit = duration_unit(most)
    return f"{round_number(seconds * scale)} {unit}" if seconds else "0"


def listing(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
