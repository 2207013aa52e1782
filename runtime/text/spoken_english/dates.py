"""Dates, times of day and decades as words.

In: text whose days, times and years are written in digits. Out: "March third, twenty twenty four",
"ten thirty AM", "the nineties". Slashed dates are month first, unless the first number is no month.
"""

from __future__ import annotations

import re

from runtime.text.spoken_english.abbreviations import kept_stop
from runtime.text.spoken_english.number_words import cardinal, hyphenated, ordinal, plural, year

_MONTHS_WRITTEN = (
    "January February March April May June July August September October November December"
)
MONTHS = _MONTHS_WRITTEN.split()
_SHORT = {month[:3]: month for month in MONTHS} | {"Sept": "September"}
_MONTH = "|".join([*MONTHS, *sorted(_SHORT, key=len, reverse=True)])

_YEAR = r"(?P<year>\d{4})"
_ISO = re.compile(rf"(?<![\w.-]){_YEAR}([-/.])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}})(?![\w-])")
_ISO_MONTH = re.compile(r"(?<![\w./$£€-])((?:19|20)\d\d)-(0[1-9]|1[0-2])(?![\w-]|[.,:/]\d)")
_SLASHED = re.compile(r"(?<![\w./])(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\w/])")
_DASHED = re.compile(r"(?<![\w.-])(\d{1,2})([-.])(\d{1,2})\2(\d{4})(?![\w-])")
_MONTH_DAY = re.compile(
    rf"\b(?P<month>{_MONTH})\b\.? (?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
    rf"(?:(?P<comma>,?) ?{_YEAR}\b(?![,.]\d))?(?![\w:%]|[,.]\d)"
)
_MONTH_DAYS = re.compile(
    rf"\b(?P<month>{_MONTH})\b\.? (?P<first>\d{{1,2}})[-–](?P<last>\d{{1,2}})(?![\w:%-])"
)
_DAY_MONTH = re.compile(
    rf"(?<![\w.,:$£€/-])(?P<the>[Tt]he )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[ -](?:of )?"
    rf"(?P<month>{_MONTH})\b\.?(?:(?P<comma>[ ,-] ?){_YEAR}\b(?![,.]\d))?"
)
_MONTH_YEAR = re.compile(rf"\b(?P<month>{'|'.join(_SHORT)})\.? {_YEAR}\b")
_MONTH_OR_DAY = re.compile(
    r"(?P<before>\b(?:on|by|until|since|before|after|till|due) )(\d{1,2})/(\d{1,2})(?![\w/])"
)

_HALF = r" ?(?P<half>[AaPp])(?:[Mm]\b(?!\.\w)|\. ?[Mm](?P<stop>\.|\b))"
_UNTIL = re.compile(
    r"((?<!\d)\d{1,2}(?:[:.]\d\d)?(?: ?[AaPp]\.?[Mm]\.?)?) ?[-–] ?"
    r"(?=\d{1,2}(?::\d\d|(?:\.\d\d)? ?[AaPp]\.?[Mm]\b))"
)
_TIME = re.compile(
    rf"(?<![\w.:,])(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?::(?P<second>\d{{2}}))?(?![\d:]|[.,]\d)"
    rf"(?:{_HALF})?"
)
_HALF_DAY = re.compile(rf"(?<![\w.:,$])(?P<hour>\d{{1,2}})(?:\.(?P<minute>[0-5]\d))?{_HALF}")
_WORD_FOLLOWS = re.compile(r"[ -]")
_DECADE = re.compile(r"(?<![\w.,$£€])'?(?P<century>\d{2})?(?P<decade>\d0)'?s\b")
_SHORT_YEAR = re.compile(r"(?<!\w)'(\d{2})(?![\w'.,]*\w)(?!')")


def read_dates(text: str) -> str:
    """Words for dates, times of day and decades; the rest of the text stays."""
    text = _ISO.sub(_read_iso, text)
    text = _ISO_MONTH.sub(lambda found: f"{MONTHS[int(found[2]) - 1]} {found[1]}", text)
    text = _SLASHED.sub(lambda found: _read_slashed(found, found[1], found[2], found[3]), text)
    text = _DASHED.sub(lambda found: _read_slashed(found, found[3], found[1], found[4]), text)
    text = _MONTH_DAYS.sub(_read_month_days, text)
    text = _MONTH_DAY.sub(_read_month_day, text)
    text = _DAY_MONTH.sub(_read_day_month, text)
    text = _MONTH_YEAR.sub(lambda found: f"{_SHORT[found['month']]} {found['year']}", text)
    text = _MONTH_OR_DAY.sub(_read_month_or_day, text)
    text = _UNTIL.sub(r"\1 to ", text)
    text = _TIME.sub(_read_time, text)
    text = _HALF_DAY.sub(_read_half_day, text)
    text = _DECADE.sub(_read_decade, text)
    return _SHORT_YEAR.sub(_read_short_year, text)


def _read_iso(found: re.Match[str]) -> str:
    date = _month_first(int(found["month"]), int(found["day"]))
    return f"{date}, {year(int(found['year']))}" if date else found[0]


def _read_slashed(found: re.Match[str], first: str, second: str, written_year: str) -> str:
    """Month first as in the United States, day first if the month would be the thirteenth."""
    month, day = int(first), int(second)
    date = _month_first(month, day) or _month_first(day, month)
    century = "" if len(written_year) == 4 else "19" if int(written_year) > 30 else "20"
    return f"{date}, {year(int(century + written_year))}" if date else found[0]


def _read_month_day(found: re.Match[str]) -> str:
    if not 1 <= int(found["day"]) <= 31:
        return found[0]
    date = f"{_full_name(found['month'])} {_day(int(found['day']))}"
    return f"{date}{found['comma']} {year(int(found['year']))}" if found["year"] else date


def _read_month_days(found: re.Match[str]) -> str:
    first, last = int(found["first"]), int(found["last"])
    if not (1 <= first <= 31 and 1 <= last <= 31):
        return found[0]
    return f"{_full_name(found['month'])} {_day(first)} to {_day(last)}"


def _read_day_month(found: re.Match[str]) -> str:
    if not 1 <= int(found["day"]) <= 31:
        return found[0]
    the = found["the"] or ("The " if _starts_sentence(found) else "the ")
    date = f"{the}{_day(int(found['day']))} of {_full_name(found['month'])}"
    if not found["year"]:
        stop = kept_stop(found) if found[0].endswith(".") else ""
        return date + stop
    return f"{date}{',' if ',' in found['comma'] else ''} {year(int(found['year']))}"


def _read_month_or_day(found: re.Match[str]) -> str:
    date = _month_first(int(found[2]), int(found[3]))
    return found["before"] + date if date else found[0]


def _read_time(found: re.Match[str]) -> str:
    hour, minute = int(found["hour"]), int(found["minute"])
    if hour > 24 or minute > 59:
        return found[0]
    words = _clock(hour, minute, is_bare=not (found["half"] or found["second"]))
    if found["second"]:
        second = int(found["second"])
        words += f" and {hyphenated(cardinal(second))} second{'' if second == 1 else 's'}"
    return words + _read_half(found)


def _read_half_day(found: re.Match[str]) -> str:
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    return found[0] if hour > 24 else _clock(hour, minute, is_bare=False) + _read_half(found)


def _clock(hour: int, minute: int, *, is_bare: bool) -> str:
    """10:30 -> "ten thirty", 9:05 -> "nine oh five", 9:00 -> "nine o'clock", 14:00 in hundreds."""
    hours = hyphenated(cardinal(hour))
    if minute:
        return f"{hours} {'oh ' if minute < 10 else ''}{hyphenated(cardinal(minute))}"
    if not is_bare:
        return hours
    if hour in (0, 24):
        return "midnight"
    return f"{hours} hundred" if hour > 12 else f"{hours} o'clock"


def _read_half(found: re.Match[str]) -> str:
    """AM or PM: plain before a stop, else "A.M", because hibari may take "AM" for a verb inside a
    phrase and the last full stop of "A.M." for the sentence's."""
    if not found["half"]:
        return ""
    half, stop = found["half"].upper(), kept_stop(found) if found["stop"] else ""
    is_last = stop or not _WORD_FOLLOWS.match(found.string, found.end())
    return f" {half}M{stop}" if is_last else f" {half}.M"


def _read_decade(found: re.Match[str]) -> str:
    """ "1990s" -> "nineteen nineties", "1900s" -> "nineteen hundreds", "'90s" -> "nineties"."""
    century, decade = found["century"], int(found["decade"])
    if not century:
        return plural(cardinal(decade)) if decade else found[0]
    return plural(year(int(century) * 100 + decade))


def _read_short_year(found: re.Match[str]) -> str:
    number = int(found[1])
    return f"oh {cardinal(number)}" if number < 10 else cardinal(number)


def _month_first(month: int, day: int) -> str | None:
    """ "March third", or None if there is no such day."""
    return f"{MONTHS[month - 1]} {_day(day)}" if 1 <= month <= 12 and 1 <= day <= 31 else None


def _day(day: int) -> str:
    return hyphenated(ordinal(day))


def _full_name(month: str) -> str:
    return _SHORT.get(month, month)


def _starts_sentence(found: re.Match[str]) -> bool:
    return not found.string[: found.start()].strip()
