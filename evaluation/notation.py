"""One notation for texts that sound the same, where Whisper's normaliser leaves two.

In: texts of a list or of a recogniser, before and after that normaliser. Out: the texts with times,
dates, units, addresses, initials and spelt digits in one notation, so that "9am" is no mistake for
"nine a.m.", and "www.example.org" is none for "W W W dot example dot org".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Rule = tuple[str, str]  # pattern, spelling

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DATE: Rule = (rf"\b({_MONTHS}) (\d+)(?:st|nd|rd|th)\b", r"\1 \2")  # May 3rd, May 3
_ROMAN = {"ii": "2nd", "iii": "3rd", "iv": "4th", "vi": "6th", "vii": "7th", "viii": "8th"}
_BEFORE: Sequence[Rule] = (
    (r"(\d)[:.](\d\d)\s*([ap])\.?\s*m\b\.?", r"\1 \2 \3m"),  # 7:30 a.m., 7.30am
    (r"(\d)\s*([ap])\.?\s*m\b\.?", r"\1 \2m"),  # 9 p.m., 9pm
    _DATE,
    (r"(\d)\s*kg\b", r"\1 kilograms"),
    (r"(\d)\s*km\b", r"\1 kilometers"),
    (r"(\d)\s*cm\b", r"\1 centimeters"),
    (r"(\d)\s*mm\b", r"\1 millimeters"),
    (r"(?<=\w)@(?=\w)", " at "),
    (r"(?<=[a-z]{2})\.(?=[a-z]{2})", " dot "),  # example.org, not U.S. or a.m.
    (r"(?<![\w.])\.(?=[a-z]{2})", "dot "),  # .NET
    (r"\bph\.? ?d\b", "p h d"),
    (r"\betc\b\.?", "et cetera"),
    (r"(?<=\d)[-/](?=\d)", " "),  # 555-1234, 24/7
    (r"(?<!\S)0(?=\d)", "zero "),  # 0800
    (r"(\d)['’] ?(\d+)(?:\"|''|”)?", r"\1 foot \2"),  # 6'2"
    (r"\bminus\b|(?<!\S)[-−](?=[$£€]?\d)", " subtract "),  # the normaliser drops a minus
    *((rf"\b{numeral}\b", f"the {ordinal}") for numeral, ordinal in _ROMAN.items()),
)
_AFTER: Sequence[Rule] = (
    _DATE,
    (r"(\d) ([ap]) m\b", r"\1 \2m"),  # of "nine a m"
    (r"\bone (?=\d)|(?<=\d )one\b", "1 "),  # the normaliser leaves it in words
    (r"(?<=\d) +(?=\d)", ""),  # of "five five five"
    (r"(?<![\d.])0(?=\.\d)", ""),  # 0.5 is heard for "point five"
)
_SPELT = re.compile(r"\b(?!a )[a-z](?: [a-z])+\b")  # "U S B"; an article does not count


def write_alike(text: str) -> str:
    """The step before the normaliser, for a text in lower case."""
    for pattern, spelling in _BEFORE:
        text = re.sub(pattern, spelling, text)
    return text


def join_spelt(text: str) -> str:
    """The step after the normaliser: spelt letters and digits are joined, as in "usb"."""
    for pattern, spelling in _AFTER:
        text = re.sub(pattern, spelling, text)
    return _SPELT.sub(lambda run: run[0].replace(" ", ""), text)
