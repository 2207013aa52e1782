"""Codes and references whose hyphens and colons are no ranges: "1-800-FLOWERS", "1 Cor. 13:4-8".

In: text as it is typed. Out: the same with such codes as words, or as numbers that stand alone.
It comes before dates and counts, which would take their signs for "to".
"""

from __future__ import annotations

import re

from runtime.text.spoken_english.number_words import cardinal, ordinal, read_digits

_UUID = re.compile(r"(?<![\w-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\w-])")
_TIMESTAMP = re.compile(
    r"(?<![\w-])(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d(?::\d\d)?)(?:\.\d{1,9})?([Zz]|[+-]\d\d:?\d\d)?(?!\w)"
)
_TOLL_FREE = re.compile(r"(?<![\w-])(?:\+?(1)-)?(8\d\d|900)-(?=[A-Z][A-Z\d-]{2,})")
_AIRLINER = re.compile(r"(?<![\w-])(7\d7)-(\d{1,3})(?![\w-])")
_CARD = re.compile(r"(?<![\w-])\d{4}(?:([ -])\d{4})(?:\1\d{4}){1,3}(?![\w-]| \d)")
_ACCOUNT = re.compile(
    r"(?<![\w-])[A-Z]{2}\d\d(?: [A-Z\d]{4}){2,7}(?: [A-Z\d]{1,4})?(?![\w-])"
    r"|(?<![\w-])[A-Z]{2}\d{13,30}(?![\w-])"
)
_SHORT_NUMBERS = "911|112|999|988|000|110|118|119|211|311|411|511|611|711|811"
_CALLED = re.compile(
    rf"(\b(?i:call|dial|text|ring|phone)(?:ed|ing|s)? )({_SHORT_NUMBERS})(?![\w-]|[.,:]\d)"
)
_BOOKS_WRITTEN = (
    "Genesis:Gen Exodus:Exod:Ex Leviticus:Lev Numbers:Num Deuteronomy:Deut Joshua:Josh "
    "Judges:Judg Ruth Samuel:Sam Kings:Kgs Chronicles:Chron:Chr Ezra Nehemiah:Neh Esther:Esth Job "
    "Psalm:Ps Psalms:Pss Proverbs:Prov Ecclesiastes:Eccl Isaiah:Isa Jeremiah:Jer Ezekiel:Ezek "
    "Daniel:Dan Hosea:Hos Joel Amos Micah:Mic Zechariah:Zech Malachi:Mal Matthew:Matt:Mt "
    "Mark:Mk Luke:Lk John:Jn Acts Romans:Rom Corinthians:Cor Galatians:Gal Ephesians:Eph "
    "Philippians:Phil Colossians:Col Thessalonians:Thess Timothy:Tim Titus Philemon Hebrews:Heb "
    "James:Jas Peter:Pet Jude Revelation:Rev"
)
_BOOKS = {
    short: names[0]
    for names in (written.split(":") for written in _BOOKS_WRITTEN.split())
    for short in names
}
_VERSES = re.compile(
    rf"(?:\b([1-3]) )?\b({'|'.join(sorted(_BOOKS, key=len, reverse=True))})\.? "
    r"(\d{1,3}):(\d{1,3})(?:[-–](\d{1,3}))?(?![\w:-])"
)


def read_references(text: str) -> str:
    """Words for codes, called numbers, timestamps and verses of the Bible."""
    text = _UUID.sub(lambda found: ", ".join(map(_spell, found[0].split("-"))), text)
    text = _TIMESTAMP.sub(_part_timestamp, text)
    text = _TOLL_FREE.sub(_read_toll_free, text)
    text = _AIRLINER.sub(_read_airliner, text)
    text = _ACCOUNT.sub(lambda found: ", ".join(map(_spell, found[0].split())), text)
    text = _CARD.sub(lambda found: ", ".join(map(_spell, re.split("[ -]", found[0]))), text)
    text = _CALLED.sub(lambda found: found[1] + read_digits(found[2]), text)
    return _VERSES.sub(_read_verses, text)


def _spell(code: str) -> str:
    """Characters one by one; the letter A is marked, so that it is no article."""
    names = (read_digits(sign) if sign.isdecimal() else sign.upper() for sign in code)
    return " ".join("A-" if name == "A" else name for name in names)


def _part_timestamp(found: re.Match[str]) -> str:
    """ "2024-03-15T10:22Z": a date and a time, which `dates` reads."""
    zone = found[3] or ""
    is_universal = zone.upper() == "Z" or zone.strip("+-").replace(":", "") == "0000"
    return f"{found[1]}, {found[2]}{' UTC' if zone and is_universal else ''}"


def _read_toll_free(found: re.Match[str]) -> str:
    hundreds = cardinal(int(found[2])) if found[2].endswith("00") else read_digits(found[2])
    return f"{'one ' if found[1] else ''}{hundreds} "


def _read_airliner(found: re.Match[str]) -> str:
    """737-800: "seven thirty seven eight hundred"."""
    model = f"seven {cardinal(int(found[1][1:]))}"
    return f"{model} {cardinal(int(found[2]))}"


def _read_verses(found: re.Match[str]) -> str:
    number, book, chapter, first, last = found.groups()
    before = f"{ordinal(int(number)).capitalize()} " if number else ""
    verses = f"{cardinal(int(chapter))} {cardinal(int(first))}"
    until = f" to {cardinal(int(last))}" if last else ""
    return f"{before}{_BOOKS[book]} {verses}{until}"
