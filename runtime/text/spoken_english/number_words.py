"""Numbers as words: what an integer, a year or a row of digits is called.

In: integers, or strings of the digits 0 to 9. Out: words with single spaces, without "and" or
hyphens ("one hundred twenty one"), as hibari reads digits, so that its voices hear what they know.
"""

from __future__ import annotations

MAX_CARDINAL_DIGITS = 36  # as far as the names go; longer numbers are read digit by digit
MAX_PLAIN_DIGITS = 9  # longer ones without separators are codes, not counts: one digit at a time

_ONES_WRITTEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_ONES = _ONES_WRITTEN.split()
_TENS_WRITTEN = "zero ten twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = _TENS_WRITTEN.split()
_SCALES_WRITTEN = (
    "thousand million billion trillion quadrillion quintillion sextillion septillion "
    "octillion nonillion decillion"
)
_SCALES = _SCALES_WRITTEN.split()
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_PLURALS = {"six": "sixes"}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}

NUMBER_WORDS = frozenset([*_ONES, *_TENS, *_SCALES, "hundred", "point", "o'clock"])


def cardinal(number: int) -> str:
    """42 -> "forty two"; from 10^36 on digit by digit."""
    if number < 100:
        return _below_hundred(number)
    if number < 1000:
        rest = number % 100
        return f"{_ONES[number // 100]} hundred" + (f" {_below_hundred(rest)}" if rest else "")
    if number >= 10**MAX_CARDINAL_DIGITS:
        return read_digits(str(number))
    power = (len(str(number)) - 1) // 3
    head, rest = divmod(number, 1000**power)
    return f"{cardinal(head)} {_SCALES[power - 1]}" + (f" {cardinal(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """42 -> "forty second"."""
    head, space, last = cardinal(number).rpartition(" ")
    if last not in _ORDINALS:
        return head + space + (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return head + space + _ORDINALS[last]


def hyphenated(words: str) -> str:
    """ "forty five" -> "forty-five": one word, with one stress, as days and minutes are said."""
    return words.replace(" ", "-")


def year(number: int) -> str:
    """1905 -> "nineteen oh five", 2007 -> "two thousand seven", 1900 -> "nineteen hundred"."""
    century, rest = divmod(number, 100)
    if century < 10 or century > 99 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    low = "hundred" if rest == 0 else f"oh {_ONES[rest]}" if rest < 10 else cardinal(rest)
    return f"{cardinal(century)} {low}"


def plural(words: str) -> str:
    """ "nineteen ninety" -> "nineteen nineties"."""
    head, space, last = words.rpartition(" ")
    return (
        head + space + _PLURALS.get(last, f"{last[:-1]}ies" if last.endswith("y") else f"{last}s")
    )


def read_digits(digits: str) -> str:
    """ "007" -> "zero zero seven"."""
    return " ".join(_ONES[int(digit)] for digit in digits)


def read_number(written: str) -> str:
    """A number with commas between thousands and a decimal point: "1,234.50", ".5", "0800"."""
    whole, point, fraction = written.partition(".")
    decimals = f"point {read_digits(fraction)}" if point else ""
    return f"{_read_whole(whole)} {decimals}".strip() if whole else decimals


def read_count(written: str) -> str:
    """As `read_number`, but four digits may be a year or hundreds: "1905", "2500"."""
    if len(written) == 4 and written.isdecimal() and _is_read_in_pairs(int(written)):
        return year(int(written))
    return read_number(written)


def roman_value(numeral: str) -> int:
    """What a well-formed Roman numeral stands for."""
    values = [_ROMAN[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(-one if one < after else one for one, after in zip(values, following, strict=True))


def _is_read_in_pairs(number: int) -> bool:
    return 1010 <= number <= 2099 or (number > 2099 and number % 100 == 0)


def _below_hundred(number: int) -> str:
    if number < 20:
        return _ONES[number]
    return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")


def _read_whole(written: str) -> str:
    digits = written.replace(",", "")
    is_code = len(digits) > MAX_PLAIN_DIGITS and "," not in written and not digits.endswith("000")
    starts_with_zero = len(digits) > 1 and digits[0] == "0"
    if is_code or starts_with_zero or len(digits) > MAX_CARDINAL_DIGITS:
        return read_digits(digits)
    return cardinal(int(digits))
