"""Measures whose parts tell what a letter is: "3m x 4m", "5h 30m", "100m in 9 s".

In: text with such measures. Out: the same with their units as words, and "by" between two sides.
It comes before ranges and sums, which would take the same signs.
"""

from __future__ import annotations

import re

from runtime.text.spoken_english.number_words import plural, read_count
from runtime.text.spoken_english.units import UNITS

_DECIMAL = r"\d+(?:\.\d+)?"
_FEET_AND_INCHES = re.compile(r"(?<![\w.,'])(\d{1,2})'[- ]?(\d{1,2})(?:\"|'')")
_SIDE_NAMES = {"'": UNITS["ft"], '"': UNITS["in"], "''": UNITS["in"]} | {
    name: UNITS[name] for name in ("m", "cm", "mm", "km", "ft", "in")
}
_SIDE = rf"{_DECIMAL} ?(?:m|cm|mm|km|ft|in|'{{1,2}}|\")"
_SIDES = re.compile(rf"(?<![\w.,]){_SIDE}(?: ?[x×] ?{_SIDE}){{1,3}}(?!\w)")
_SIDE_PART = re.compile(rf"({_DECIMAL}) ?(\D+)")
_BY = re.compile(r" ?[x×] ?")
_HOURS = re.compile(
    r"(?<![\w.,])(\d{1,3})h(?= ?\d{1,2}m|\d\d(?!\d)) ?(\d{1,2})(?:m|min)?"
    r"(?: ?(\d{1,2})s)?(?!\w|\.\d)"
)
_MINUTES = re.compile(r"(?<![\w.,])(\d{1,3})m ?(\d{1,2})s(?!\w)")
_RUN = re.compile(
    rf"(?<![\w.,])(?P<number>\d[\d,.]*)m(?= in {_DECIMAL} ?(?:s|secs?|seconds?|min|mins|minutes?)\b"
    r"|\s+in \d+:\d\d)"
)
_RAN = re.compile(r"(?<=\b(?:ran|run) )(\d{2,4})m\b|(?<=\b(?:swam|swim) )(\d{2,4})m\b")
_COMPANY = re.compile(
    r"(?<![\w.,$£€-])3M(?='s|\s+(?:is|was|has|makes?|made|said|and|of)\b|[.,;:!?)]|\s*$| [A-Z])"
)
_PAIR = re.compile(r"(?<![\w-])(\d{1,3})-(in|for|on|to|of|by|and|at|out-of)-(\d{1,3}|a)(?![\w-])")
_BILLS = re.compile(r"\$(\d+)s\b")


def read_measures(text: str) -> str:
    """Units in words where what stands beside them tells which they are."""
    text = _FEET_AND_INCHES.sub(r"\1'\2" + '"', text)
    text = _SIDES.sub(_read_sides, text)
    text = _HOURS.sub(_read_duration, text)
    text = _MINUTES.sub(lambda found: _join_parts((found[1], "minute"), (found[2], "second")), text)
    text = _RUN.sub(r"\g<number> meters", text)
    text = _RAN.sub(lambda found: f"{found[1] or found[2]} meters", text)
    text = _COMPANY.sub("three M", text)
    text = _BILLS.sub(lambda found: plural(read_count(found[1])), text)
    return _PAIR.sub(lambda found: f"{found[1]} {found[2].replace('-', ' ')} {found[3]}", text)


def _read_sides(found: re.Match[str]) -> str:
    sides = []
    for side in _BY.split(found[0]):
        part = _SIDE_PART.fullmatch(side)
        if part is None:
            return found[0]
        one, several = _SIDE_NAMES[part[2]]
        sides.append(f"{part[1]} {one if part[1] == '1' else several}")
    return " by ".join(sides)


def _read_duration(found: re.Match[str]) -> str:
    hours, minutes, seconds = found.groups()
    parts = [(hours, "hour"), (minutes, "minute")]
    return _join_parts(*parts, *([(seconds, "second")] if seconds else []))


def _join_parts(*parts: tuple[str, str]) -> str:
    return " ".join(f"{int(count)} {name}{'' if int(count) == 1 else 's'}" for count, name in parts)
