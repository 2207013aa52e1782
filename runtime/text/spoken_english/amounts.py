"""Money, measures and percentages as words.

In: text with amounts: "$3.50", "27.5 €" (a decimal point by now), "-5 °C", "6'2\"". Out: "three
dollars and fifty cents". Directly after "a" the unit is singular: "a $5 bill", "a 10 km run".
"""

from __future__ import annotations

import re

from runtime.text.spoken_english.number_words import cardinal, read_number
from runtime.text.spoken_english.units import (
    CODES,
    COUNTED,
    CURRENCIES,
    LENGTHS,
    MAGNITUDES,
    NATIONS,
    UNITS,
)

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+)(?:\.\d+)?|\.\d+"


_SIGN = f"[{''.join(sign for sign in CURRENCIES if len(sign) == 1)}]"
_CODE = "|".join(CODES)
_NATION = "|".join(sorted(NATIONS, key=len, reverse=True))
_NAMES = "hundred|thousand|million|billion|trillion"
_SIZE = rf"(?: ?(?P<size>{_NAMES}|bn|Bn|mn|mil|tn|[kKmMbBT])(?![\w]))?"
_UNIT_NAME = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_PER = rf"(?: ?/ ?(?P<per>(?:{_UNIT_NAME})\b|(?=[a-z])))?"
_BEFORE = r"(?<![\w.,])"

_MONEY = re.compile(
    rf"(?<![\d.,])(?<!\d )(?P<minus>(?<!\w)-)?(?:(?<!\w)(?P<nation>{_NATION})?(?P<sign>{_SIGN})"
    rf"|(?<!\w)(?P<code>{_CODE})\.?) ?(?P<below>-)?(?P<number>{NUMBER})"
    rf"(?:(?: to | ?[-–—] ?)(?P<upto>{NUMBER}))?{_SIZE}{_PER}"
)
_MONEY_AFTER = re.compile(
    rf"{_BEFORE}(?P<minus>(?<!\w)-)?(?P<nation>)(?P<below>)(?P<number>{NUMBER})"
    rf"(?:(?: to | ?[-–—] ?)(?P<upto>{NUMBER}))?{_SIZE} ?"
    rf"(?:(?P<sign>{_SIGN})|(?P<code>{_CODE})\b)(?!\w){_PER}"
)
_PENCE = re.compile(rf"{_BEFORE}(\d{{1,2}})p\b")
_COUNTED = re.compile(
    rf"{_BEFORE}(?P<number>{NUMBER})(?:(?P<size>{'|'.join(COUNTED)})| (?P<spaced>bn|mn|tn))\b"
    rf"(?! (?:{LENGTHS})\b)(?![\^/'])"
)
_UNIT = re.compile(
    rf"{_BEFORE}(?P<minus>(?<!\w)-)?(?P<number>{NUMBER})(?P<joint> ?|-)"
    rf"(?:(?P<unit>{'|'.join(sorted(map(re.escape, UNITS), key=len, reverse=True))})"
    rf"(?:\^?(?P<power>[23]))?)(?![\w°])(?!['’]\w){_PER}(?P<stop>\.(?= [a-z\d]| ?[,;:?!]))?"
)
_NO_CENTS = re.compile(r"(?<=\d)[.,][-–—]+(?=\s|$|[,;!?)])")  # "CHF 20.-", "5,- €"
_SPACED_DEGREES = re.compile(r"(?<=\d) ?° ?(?=[CF]\b)")
_FEET = re.compile(r"(?<![\w.,'])(\d{1,2})' ?(\d{1,2})(?:\"|''|(?!['\w]))")
_INCHES = re.compile(rf"{_BEFORE}({NUMBER})\"")
_QUOTE = re.compile(r"(?<!\d)\"")
_ARTICLE = re.compile(r"(?<!\w)[Aa]n? $")
_NOUN_FOLLOWS = re.compile(r" [a-z]")


def read_amounts(text: str) -> str:
    """Words for money, measures and percentages; the rest of the text stays."""
    text = _NO_CENTS.sub("", text)
    text = _FEET.sub(
        lambda found: f"{cardinal(int(found[1]))} foot {cardinal(int(found[2]))}", text
    )
    text = _INCHES.sub(_read_inches, text)
    text = _MONEY.sub(_read_money, text)
    text = _MONEY_AFTER.sub(_read_money, text)
    text = _PENCE.sub(_read_pence, text)
    text = _COUNTED.sub(_read_counted, text)
    text = _SPACED_DEGREES.sub("°", text)
    return _UNIT.sub(_read_unit, text)


def _read_money(found: re.Match[str]) -> str:
    currency = CURRENCIES[CODES.get(found["code"], found["sign"])]
    nation = f"{NATIONS[found['nation']]} " if found["nation"] else ""
    sign = "minus " if found["minus"] or found["below"] else ""
    size, singular = MAGNITUDES.get(found["size"], ""), _is_attribute(found)
    first, last = found["number"], found["upto"]
    words = _name_sum(last or first, size, currency, nation, singular=singular)
    if last:
        words = f"{read_number(first)} to {words}"
    return sign + words + _read_per(found)


def _name_sum(
    number: str, size: str, currency: tuple[str, ...], nation: str, *, singular: bool
) -> str:
    """ "3.5" of dollars -> "three dollars and fifty cents"; with a size, or finer, as a decimal."""
    one, several, minor_one, minor_several = currency
    whole, _, fraction = number.partition(".")
    whole = whole.replace(",", "")
    if size or len(fraction) > 2:
        unit = one if singular else several
        return f"{read_number(number)} {size}{' ' if size else ''}{nation}{unit}"
    major, minor = int(whole or 0), int(f"{fraction:0<2}")
    parts = []
    if major or not minor:
        major_unit = one if major == 1 or singular else several
        parts.append(f"{cardinal(major)} {nation}{major_unit}")
    if minor:
        minor_unit = minor_one if minor == 1 or singular else minor_several
        parts.append(f"{cardinal(minor)} {minor_unit}")
    return " and ".join(parts)


def _read_pence(found: re.Match[str]) -> str:
    return f"{cardinal(int(found[1]))} {'penny' if found[1] == '1' else 'pence'}"


def _read_counted(found: re.Match[str]) -> str:
    return f"{read_number(found['number'])} {MAGNITUDES[found['size'] or found['spaced']]}"


def _read_inches(found: re.Match[str]) -> str:
    """Inches, unless the sign closes a quotation."""
    before = found.string[max(0, found.start() - 300) : found.start()]
    if len(_QUOTE.findall(before)) % 2:
        return found[0]
    singular = found[1] == "1" or _is_attribute(found)
    return f"{read_number(found[1])} inch{'' if singular else 'es'}"


def _read_unit(found: re.Match[str]) -> str:
    number, unit, joint = found["number"], found["unit"], found["joint"]
    if not _is_meant(found):
        return found[0]
    singular = number == "1" or joint == "-" or _is_attribute(found)
    power = {"2": "square ", "3": "cubic ", None: ""}[found["power"]]
    sign = "minus " if found["minus"] else ""
    words = f"{sign}{read_number(number)} {power}{UNITS[unit][0 if singular else 1]}"
    return words + _read_per(found)


def _read_per(found: re.Match[str]) -> str:
    """ "/kg" -> " per kilogram", "/month" -> " per month"."""
    per = found["per"]
    return "" if per is None else f" per {UNITS[per][0] if per else ''}"


def _is_meant(found: re.Match[str]) -> bool:
    """Whether letters after a number are a unit: "5 in" and "5s" have likelier readings."""
    unit, joint = found["unit"], found["joint"]
    if unit == "in" and joint == " ":
        return bool(found["stop"]) or found.string[found.end() : found.end() + 1] in (".", ")")
    return unit != "s" or joint == " " or "." in found["number"]


def _is_attribute(found: re.Match[str]) -> bool:
    """Whether the amount stands between "a" and a noun: "a $5 bill"."""
    before = found.string[max(0, found.start() - 3) : found.start()]
    return bool(_ARTICLE.search(before) and _NOUN_FOLLOWS.match(found.string, found.end()))
