"""All other numbers as words: telephone numbers, versions, fractions, ranges, counts, decimals.

In: text with digits. Out: text without any. `even_out_numbers` comes first: whatever separates
thousands or decimals becomes a comma or a point.
"""

from __future__ import annotations

import re

from runtime.text.spoken_english.dates import MONTHS
from runtime.text.spoken_english.number_words import (
    MAX_CARDINAL_DIGITS,
    cardinal,
    ordinal,
    plural,
    read_count,
    read_digits,
)
from runtime.text.spoken_english.units import UNITS

_ENDLESS = re.compile(rf"\d{{{MAX_CARDINAL_DIGITS + 1},}}")
_SPACED_GROUPS = re.compile(
    r"(?<![\w.,'-])([1-9]\d{0,2}(?:([ '])\d{3})(?:\2\d{3})*)(?:,(\d{1,2}))?(?![\w'-]|[ .,]\d)"
)
_POINTED_GROUPS = re.compile(
    r"(?<![\w.,])([1-9]\d{0,2}(?:(?:\.\d{3})+(?=,\d{1,2}\b)|(?:\.\d{3}){2,}))(?:,(\d{1,2}))?(?![\w.,]\d|\d)"
)
_INDIAN_GROUPS = re.compile(r"(?<![\w.,])\d{1,2}(?:,\d{2})+,\d{3}(?![\w,])")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d{1,2}|\d{4,9})(?![\d,]|\.\d)")

_PHONE = re.compile(
    r"(?<![\w.,$£€-])(?<!\d )"
    r"(?:\+(?=(?:[ .()-]{0,2}\d){7,15}(?!\d))\d{1,4}(?:[ .-]?\(?\d{1,12}\)?){1,6}"
    r"|\(\d{2,5}\) ?\d{2,4}(?:[ -]?\d{2,5}){1,3}|0\d{2,5}(?:[ /-]\d{2,8}){1,4}"
    r"|(?:\+?1[ -])?\d{3}[ -]\d{3}[ -]\d{4}|(?!\d\d0-\d{3}0)\d{3}-\d{4}"
    r"|\d{3}\.\d{3}\.\d{4})(?![\w-]|\.\d)"
)
_CHAIN = re.compile(r"(?<![\w.,-])\d+(?:-\d+){2,}(?![\w-])")
_VERSION = re.compile(r"(?<![\d.,])\d+(?:\.\d+){2,}(?!\d)")
_PORT = re.compile(r"(?<=[^\W\d_]):(?=\d)")
_EACH = re.compile(r"(?<=[a-z])/(?=(?:min|hr|sec|hour|day|night|week|month|year|person)\b)")
_RATIO = re.compile(r"(?<=\d) ?: ?(?=\d)")

_FRACTION = re.compile(
    r"(?<![\w.,/-])(?:(?P<whole>\d{1,3})[ -])?(?P<above>\d{1,4})/(?P<below>\d{1,4})(?![\w/]|[.,]\d)"
    rf"(?: ?(?P<unit>{'|'.join(unit for unit in UNITS if unit.isalpha() and unit != 'in')})\b)?"
)
_DENOMINATORS = {2: "half", 3: "third", 4: "quarter"} | {
    number: ordinal(number) for number in (5, 6, 7, 8, 9, 10, 16, 32, 64, 100, 1000)
}
_NAMED_PAIRS = {"24/7": "twenty four seven", "9/11": "nine eleven"}
_RANGE = re.compile(
    r"(?<![A-Za-z]-)(?<=\d)(?P<unit>%|°[CF]?|k[gm]|[cm]m|m|lb|GB|MB)?(?: ?[-–] ?|—)(?=[$£€]?\d)"
)
# Beside the hyphen of a code, which is no range: "A1-5", "12-34-B", "2024-02".
_CODE_BEFORE = re.compile(r"(?:[A-Za-z]-?[\d.]{0,20}|\d-\d{1,20})$")
_CODE_AFTER = re.compile(r"\d{1,20}-?(?:[A-Z]|-\d|[a-f]\d)")
_ZERO_AFTER = re.compile(r"0\d")
_ZERO_BEFORE = re.compile(r"(?<![\d.,:])0\d{1,20}$")
_OPERATION = re.compile(r"(?<=\d) ?([+*x×÷^]|[-–/](?=[\d .+*x×÷/-]{1,40}=)) ?(?=-?\.?\d)")
_TIMES = re.compile(r"(?<=\d)x(?=[\s.,!?;:)]|$)")
_FIFTY = re.compile(r"\b50-50\b")
_SUM_FOLLOWS = re.compile(r"[\d.,]{1,20} ?=")
_OPERATIONS = {
    **{"-": "minus", "–": "minus", "+": "plus", "*": "times", "×": "times", "x": "by"},
    **{"÷": "divided by", "/": "divided by", "^": "to the power of"},
}

_ORDINAL = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d{1,15})(?:st|nd|rd|th)(s?)\b")
_MINUS = re.compile(r"(?<![\w.,)%°-])-(?=\.?\d)")
_PLUS = re.compile(r"(?<![\w+])\+ ?(?=\.?\d)")
_NUMBER_SIGN = re.compile(r"(?<![\w&])# ?(?=\d)")
_LETTER_A = re.compile(r"\bA-?(?=\d)")
_AFTER_LETTER = re.compile(r"(?<=[^\W\d_])(?<!\bA)[-–.]?(?=\d)")
_BEFORE_LETTER = re.compile(r"(?<=\d)(?=[^\W\d_])")
_PLURAL = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+|\d+)'?s\b")
_NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+")


def even_out_numbers(text: str) -> str:
    """Commas between thousands and points before decimals; telephone numbers and codes as words."""
    text = _ENDLESS.sub(lambda found: f" {read_digits(found[0])} ", text)
    text = _PHONE.sub(_read_phone, text)
    text = _SPACED_GROUPS.sub(lambda found: _group(re.sub("[ ']", "", found[1]), found[3]), text)
    text = _POINTED_GROUPS.sub(lambda found: _group(found[1].replace(".", ""), found[2]), text)
    text = _INDIAN_GROUPS.sub(lambda found: _group(found[0].replace(",", ""), None), text)
    text = _DECIMAL_COMMA.sub(r"\1.\2", text)
    text = _CHAIN.sub(_read_chain, text)
    return _VERSION.sub(_read_version, text)


def read_relations(text: str) -> str:
    """Words for what stands between numbers: fractions, ranges, scores and sums."""
    text = _TIMES.sub(" times", _OPERATION.sub(_read_operation, text))
    text = _FIFTY.sub("fifty fifty", text)
    text = _FRACTION.sub(_read_fraction, text)
    text = _RANGE.sub(_read_range, text)
    text = _EACH.sub(" per ", _RATIO.sub(" to ", text))
    return _PORT.sub(": ", text)


def read_counts(text: str) -> str:
    """Words for every number that is left."""
    text = _NUMBER_SIGN.sub("number ", text)
    text = _ORDINAL.sub(_read_ordinal, text)
    text = _PLUS.sub("plus ", _MINUS.sub("minus ", text))
    text = _AFTER_LETTER.sub(" ", _LETTER_A.sub("A-", text))
    text = _PLURAL.sub(_read_plural, text)
    text = _BEFORE_LETTER.sub(" ", text)
    return _NUMBER.sub(lambda found: read_count(found[0]), text)


def _group(digits: str, decimals: str | None) -> str:
    return f"{int(digits):,}" + (f".{decimals}" if decimals else "")


def _read_phone(found: re.Match[str]) -> str:
    groups = ", ".join(map(read_digits, re.findall(r"\d+", found[0])))
    return f"plus {groups}" if found[0].startswith("+") else groups


def _read_chain(found: re.Match[str]) -> str:
    """A code digit by digit ("978-3-16"), anything else number by number ("3-2-1")."""
    groups = found[0].split("-")
    is_code = any(len(group) > 2 or (len(group) > 1 and group[0] == "0") for group in groups)
    return ", ".join(read_digits(group) if is_code else cardinal(int(group)) for group in groups)


def _read_version(found: re.Match[str]) -> str:
    """ "1.2.3" with points, an address of the internet with dots."""
    parts = found[0].split(".")
    is_address = len(parts) == 4 and all(len(part) <= 3 and int(part) <= 255 for part in parts)
    words = (" dot " if is_address else " point ").join(map(_read_part, parts))
    return f" {words}" if found.string[found.start() - 1 : found.start()].isalpha() else words


def _read_part(part: str) -> str:
    is_digits = len(part) > 2 or (len(part) > 1 and part[0] == "0")
    return read_digits(part) if is_digits else cardinal(int(part))


def _read_fraction(found: re.Match[str]) -> str:
    above, below, whole = int(found["above"]), int(found["below"]), found["whole"]
    pair = f"{found['above']}/{found['below']}"
    unit = UNITS.get(found["unit"], ("", ""))
    if pair in _NAMED_PAIRS or not 0 < above < below or below not in _DENOMINATORS:
        words = _NAMED_PAIRS.get(pair) or _read_pair(above, below)
        return f"{whole + ' ' if whole else ''}{words}{' ' if found['unit'] else ''}{unit[1]}"
    name = _DENOMINATORS[below]
    if whole:
        part = f"a {name}" if above == 1 else f"{cardinal(above)} {_several(name)}"
        return f"{cardinal(int(whole))} and {part} {unit[1]}".rstrip()
    if below in (10, 100) and above > 1 and not found["unit"]:
        return f"{cardinal(above)} out of {cardinal(below)}"
    part = f"one {name}" if above == 1 else f"{cardinal(above)} {_several(name)}"
    return f"{part} of a {unit[0]}" if found["unit"] else part


def _read_operation(found: re.Match[str]) -> str:
    is_sum = found[1] == "x" and _SUM_FOLLOWS.match(found.string, found.end())
    return f" {'times' if is_sum else _OPERATIONS[found[1]]} "


def _several(name: str) -> str:
    return "halves" if name == "half" else f"{name}s"


def _read_pair(above: int, below: int) -> str:
    """A day of the year, a rating, "fifty fifty", or one over the other."""
    if below > 10 and 1 <= above <= 12 and below <= 31:
        return f"{MONTHS[above - 1]} {ordinal(below)}"
    joint = " " if above == below and above != 10 else " out of " if below in (5, 10) else " over "
    return f"{cardinal(above)}{joint}{cardinal(below)}"


def _read_plural(found: re.Match[str]) -> str:
    """ "747s" and "1,000s", which are thousands, not "one thousands"."""
    words = plural(read_count(found[1]))
    return words.removeprefix("one ") if words in ("one hundreds", "one thousands") else words


def _read_range(found: re.Match[str]) -> str:
    """ "to" from number to number; a pause inside of a code."""
    before = found.string[max(0, found.start() - 30) : found.start()]
    is_code = _CODE_BEFORE.search(before) or _CODE_AFTER.match(found.string, found.end())
    has_zero = _ZERO_AFTER.match(found.string, found.end()) and not _ZERO_BEFORE.search(before)
    return f"{found['unit'] or ''}{', ' if is_code or has_zero else ' to '}"


def _read_ordinal(found: re.Match[str]) -> str:
    words = ordinal(int(found[1].replace(",", "")))
    return f"{words}s" if found[2] else words
