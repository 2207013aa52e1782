"""English abbreviations: words whose full stop need not end a sentence.

In: the words before a full stop and what comes after it. Out: whether the stop belongs to the last
word. Where both are possible ("the U.S. Army", "the U.S. He left"), the next word decides.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Titles and places that stand before a name, and Latin words that are never last.
_BEFORE_NAME = _words("""
    Mr Mrs Ms Mx Dr Prof Rev Fr Gen Col Capt Cmdr Cdr Comdr Lt Sgt Cpl Pvt Maj Adm Brig Gov
    Sen Rep Hon Pres Supt Insp Det Amb Atty Msgr Messrs Mme Mlle Mt Mts Ft Pt Drs Asst vs v cf
    viz approx Approx ca al e.g i.e incl Incl excl Excl
""")
# Before a number, in any case: "No. 5", "Fig. 3", "Tel. 030", "Feb. 3", "Apt. 4B".
_BEFORE_NUMBER = _words("""
    no nos n° nr vol fig figs eq eqs sec secs ch chap p pp art par bk pt ver tab tel ext fax
    cor matt rom heb isa jer ps prov gen exod lev deut eph phil thess tim pet
    max min est c exp ref rs para qty dept approx
    apt rm ste bldg hwy rte jan feb mar apr jun jul aug sep sept oct nov dec op opp ser
""")
# Before a letter or a Roman numeral: "Fig. A", "Vol. IV", "No. A5".
_BEFORE_LETTER = _words("Vol Fig Ch Chap Art Sec Pt Eq Para Bk App Nr")
_LETTER = re.compile(r"(?:[A-Z]|[IVXLC]+)\b(?!['’.]\w)")
_LETTER_AND_NUMBER = re.compile(r"[A-Z]-?\d")
# After a number, when a smaller measure follows: "5 ft. 6 in.", "8 lbs. 3 oz.".
_MEASURES = _words("ft yd lb lbs hr hrs min mins h m km")
_SMALLER = re.compile(r"\d[\d./]*\s?(?:in|ft|oz|lbs?|min|mins|sec|secs|s|cm|m)\b")
# After a name; they may end a sentence.
_AFTER_NAME = _words("""
    St Ste Ave Blvd Rd Ln Hwy Pkwy Sq Jr Sr Esq Inc Ltd Co Corp Bros LLC PLC Dept Univ Assn
    Assoc Inst Est Mfg Intl Natl Govt Bldg Apt Ph.D PhD M.Sc B.Sc M.Ed Ed.D Psy.D D.Phil co ed
    eds
""")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_WEEKDAYS = _words("Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun")
_MONTHS = _words("""
    Jan Feb Mar Apr May Jun Jul Aug Sep Sept Oct Nov Dec January February March April June
    July August September October November December
""")
_TIMES = _words("a.m p.m am pm")
_TIME_WORDS = 3  # "At 5 a.m."
_ZONES_AND_DAYS = _words("""
    Monday Tuesday Wednesday Thursday Friday Saturday Sunday Eastern Central Mountain Pacific
    EST EDT ET CST CDT CT MST MDT MT PST PDT PT GMT UTC CET CEST BST
""")
_AFTER_TIME = _WEEKDAYS | _MONTHS | _ZONES_AND_DAYS
# Capitalised words that begin sentences far more often than they continue a name.
_BEGINNINGS = _words("""
    A About After All Although Also An And Another Any Are As At Be Because Been Before Being
    Both But By Can Could Did Do Does During Each Even Every Few First For From Had Has Have
    He Her Here Hers His How However I If In Instead Is It Its Just Last Later Let Let's Many
    Maybe Me More Most My Never Next No Nobody None Not Nothing Now Of On Once One Only Or
    Other Our Perhaps Please She Since So Some Soon Still Such Than That The Their Them Then
    There These They This Those Though Thus To Today Tomorrow Two Under Until Very Was We Were
    What When Where Whether Which While Who Whose Why With Without Would Yes Yesterday Yet You
    Your Can't Didn't Don't Won't
""")
_BEFORE_WORDS = "(\"“'‘[«•‣▪◦⁃*–—-"
_LONG_WORD = re.compile(r"[^\W\d_]{2,}")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def keeps_full_stop(before: str, after: str) -> bool:
    """Whether the full stop between `before` and `after` belongs to the last word of `before`.

    before: from the sentence's beginning to the stop, without it. after: what follows; it is not
    empty and does not begin with a lower-case letter.
    """
    words = [word for part in before.split() if (word := part.lstrip(_BEFORE_WORDS))]
    last = words[-1] if words else ""
    if is_list_mark(words):
        return True
    if last.isupper() and len(last) > 1 and is_in_capitals(" ".join(words[:-1]), after):
        last = last.capitalize()
    if last in _MEASURES and len(words) > 1 and words[-2][-1].isdecimal():
        return bool(_SMALLER.match(after))
    if last in _BEFORE_NAME or _stands_before_number(last, after):
        return True
    following = _first_word(after)
    if last.lower() in _TIMES:
        is_all = len(words) <= _TIME_WORDS and following not in _BEGINNINGS
        return is_all or following in _AFTER_TIME
    if last in _WEEKDAYS:
        return following in _MONTHS
    if last in _AFTER_NAME or _is_initials(last):
        return not _begins_sentence(following, after)
    return is_count(words) and after[0].isdecimal()


def is_in_capitals(before: str, after: str) -> bool:
    """Whether a neighbouring word is in capitals, or there is none: "DEC. 31"."""
    near = [*_LONG_WORD.findall(before)[-1:], *_LONG_WORD.findall(after)[:1]]
    return any(word.isupper() for word in near) or not near


def _stands_before_number(last: str, after: str) -> bool:
    if last in _BEFORE_LETTER and _LETTER.match(after):
        return True
    is_number = after[0].isdecimal() or _LETTER_AND_NUMBER.match(after)
    return last.lower() in _BEFORE_NUMBER and last != "C" and bool(is_number)


def is_list_mark(words: list[str]) -> bool:
    """Whether the words are the mark of a list item: "1" or "B"."""
    mark = words[0].strip("()") if len(words) == 1 else ""
    return mark.isdecimal() or (len(mark) == 1 and mark.isalpha() and mark != "I")


def is_count(words: list[str]) -> bool:
    """Only numbers: "10. 9. 8"."""
    return bool(words) and all(word.rstrip(".,").isdecimal() for word in words)


def _is_initials(word: str) -> bool:
    return bool(_INITIALS.fullmatch(word)) or (len(word) == 1 and word.isupper())


def _first_word(after: str) -> str:
    match = _WORD.match(after.lstrip(_BEFORE_WORDS))
    return match.group().replace("’", "'") if match else ""


def _begins_sentence(word: str, after: str) -> bool:
    """An initial does not: "J. I. Smith"."""
    is_initial = len(word) == 1 and after.lstrip(_BEFORE_WORDS)[1:2] == "."
    return (word in _BEGINNINGS or word.partition("'")[0] in _BEGINNINGS) and not is_initial
