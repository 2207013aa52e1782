"""Abbreviations with a full stop, as words: "Dr. Lee of Apple Inc." and what "St." stands for.

In: text with abbreviations. Out: their words; a full stop that also ended the sentence is kept.
"""

from __future__ import annotations

import re

from runtime.text.abbreviations import is_in_capitals
from runtime.text.spoken_english.number_words import cardinal, roman_value

# Before a capitalised word, with or without the full stop: what stands before a name.
_TITLES = {
    **{"Mr": "Mr", "Mrs": "Mrs", "Ms": "Miz", "Messrs": "Messieurs", "Mme": "Madame"},
    **{"Dr": "Doctor", "Prof": "Professor", "Gen": "General", "Gov": "Governor", "Sen": "Senator"},
    **{"Rep": "Representative", "Capt": "Captain", "Cpt": "Captain", "Lt": "Lieutenant"},
    **{"Col": "Colonel", "Sgt": "Sergeant", "Cmdr": "Commander", "Cdr": "Commander"},
    **{"Rev": "Reverend", "Hon": "Honorable", "Pres": "President", "Supt": "Superintendent"},
    **{"Cpl": "Corporal", "Maj": "Major", "Adm": "Admiral", "Fr": "Father", "Msgr": "Monsignor"},
    **{"Mt": "Mount", "Ft": "Fort", "Pvt": "Private", "Insp": "Inspector", "Det": "Detective"},
    **{"Atty": "Attorney", "Pt": "Point", "Drs": "Doctors", "Asst": "Assistant"},
}
# With the full stop, wherever they stand.
_ANYWHERE = {
    **{"Jr": "Junior", "Sr": "Senior", "Esq": "Esquire", "Inc": "Incorporated", "Ltd": "Limited"},
    **{"Corp": "Corporation", "Co": "Company", "Bros": "Brothers", "Dept": "Department"},
    **{"Univ": "University", "Assn": "Association", "Assoc": "Associates", "Govt": "Government"},
    **{"Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Hwy": "Highway"},
    **{"Pkwy": "Parkway", "Ste": "Suite", "Apt": "Apartment", "Bldg": "Building", "Sq": "Square"},
    **{"Tel": "Telephone", "tel": "telephone", "Ext": "Extension", "ext": "extension"},
    **{
        "etc": "etc",
        "Vs": "Versus",
        "approx": "approximately",
        "Approx": "Approximately",
    },
    **{"cf": "compare", "viz": "namely", "incl": "including", "excl": "excluding"},
    **{"Incl": "Including", "Excl": "Excluding", "qty": "quantity", "Qty": "Quantity"},
    **{"dept": "department", "govt": "government", "apt": "apartment", "misc": "miscellaneous"},
    **{
        "Mr": "Mr",
        "Mrs": "Mrs",
        "Ms": "Miz",
        "Dr": "Doctor",
        "Prof": "Professor",
        "Gen": "General",
    },
    **{
        "Gov": "Governor",
        "Sen": "Senator",
        "Capt": "Captain",
        "Lt": "Lieutenant",
        "Sgt": "Sergeant",
    },
    **{"Cmdr": "Commander", "Mt": "Mount", "Feb": "February", "Apr": "April"},
    **{"Aug": "August", "Sept": "September", "Sep": "September", "Oct": "October"},
    **{"Nov": "November", "Dec": "December", "Tues": "Tuesday", "Tue": "Tuesday"},
    **{"Thurs": "Thursday", "Thur": "Thursday", "Thu": "Thursday"},
}
# With the full stop, before a number (or a letter with one: "Apt. 4B", "Fig. 3").
_BEFORE_NUMBER = {
    **{"No": "Number", "Nos": "Numbers", "no": "number", "nos": "numbers", "Nr": "Number"},
    **{"vol": "volume", "Vol": "Volume", "vols": "volumes", "fig": "figure", "Fig": "Figure"},
    **{"figs": "figures", "Figs": "Figures", "ch": "chapter", "Ch": "Chapter", "pp": "pages"},
    **{"p": "page", "P": "Page", "Pp": "Pages", "eq": "equation", "Eq": "Equation"},
    **{"sec": "section", "Sec": "Section", "art": "article", "Art": "Article", "pt": "part"},
    **{"ca": "circa", "c": "circa", "est": "established", "Est": "Established", "ver": "version"},
    **{"max": "maximum", "Max": "Maximum", "min": "minimum", "Min": "Minimum"},
    **{"exp": "expires", "Exp": "Expires", "para": "paragraph", "Para": "Paragraph"},
    **{"ref": "reference", "Ref": "Reference", "Pt": "Part"},
    **{"Jan": "January", "Mar": "March", "Jun": "June", "Jul": "July", "Ver": "Version"},
    **{"Sat": "Saturday", "Sun": "Sunday", "Mon": "Monday", "Wed": "Wednesday", "Fri": "Friday"},
}
# Also before a letter or a Roman numeral: "Fig. A", "Vol. IV".
_LETTERED = {
    name: _BEFORE_NUMBER[name]
    for name in ("Vol", "Fig", "Ch", "Art", "Sec", "Pt", "Eq", "Para", "Nr")
}
# With the full stop after a day's or a month's company: "on Sun.", "next Mon.", "in Jan."
_DAYS = {name: _BEFORE_NUMBER[name] for name in ("Sat", "Sun", "Mon", "Wed", "Fri")}
_MONTHS = {name: _BEFORE_NUMBER[name] for name in ("Jan", "Mar", "Jun", "Jul")}
# As they are: no letter or digit may follow.
_WHOLE = {
    **{"e.g.": "for example", "E.g.": "For example", "i.e.": "that is", "I.e.": "That is"},
    **{"w/o": "without", "w/": "with ", "b/c": "because", "n/a": "N A", "N/A": "N A"},
    **{"a.k.a.": "also known as", "aka": "also known as", "AKA": "also known as"},
    **{"BTW": "by the way", "IMO": "in my opinion", "TBD": "to be determined"},
    **{"et al.": "et al", "vs": "versus", "vs.": "versus", "'n'": "and", "'em": "them"},
    **{"'tis": "tis", "'Tis": "Tis", "'twas": "twas", "'Twas": "Twas", "'til": "till"},
    **{"'cause": "because", "'Cause": "Because", "'bout": "about", "'round": "round"},
}
# Titles that British writers leave without a full stop.
_STOPLESS_WRITTEN = "Mr Mrs Ms Messrs Mme Dr Prof Mt Lt Sgt Capt Rev Gov Sen Fr Msgr"
_STOPLESS = frozenset(_STOPLESS_WRITTEN.split())

# Words that begin sentences more often than names do: the full stop before them ends one.
_STARTERS = (
    "A An The This That These Those I He She It We You They His Her Its Our Your Their My In On At "
    "But And So Then If When While As For From To With No Yes Not There Here What Who Why How Where"
)
_SHOUTED_LINKS_WRITTEN = "AND OR IN AT TO OF FROM FOR ON BY NEAR IS WAS WITH THE"
_SHOUTED_LINKS = frozenset(_SHOUTED_LINKS_WRITTEN.split())
_SENTENCE_STARTS = re.compile(
    rf"[\"'”’)]{{0,3}}\s{{1,3}}[\"'“‘(]{{0,3}}(?:{'|'.join(_STARTERS.split())})\b"
)
_TEXT_ENDS = re.compile(r"[\"'”’)\]]{0,3}[ \t]{0,3}(?:$|\n)")


_IN_CAPITALS = {
    word.upper(): word
    for word in (*_TITLES, *_ANYWHERE, *_BEFORE_NUMBER, *_DAYS, "St")
    if word.istitle() and len(word) > 1
}


def _any_of(words: dict[str, str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_WORD = r"(?<![\w.'’-])"
_TITLE = re.compile(rf"{_WORD}({_any_of(_TITLES)})\b(\.?) (?=[\"“(]?[A-Z])")
_NUMBERED = re.compile(rf"{_WORD}(?!(?<=\d )min\b)({_any_of(_BEFORE_NUMBER)})\. ?(?=[#(]?[0-9])")
_LETTER = re.compile(
    rf"{_WORD}({_any_of(_LETTERED)})\. ?(?:([IVX]{{1,6}})\b|(?=[A-Z]\b))(?!['.]\w)"
)
_LETTER_AND_NUMBER = re.compile(rf"{_WORD}({_any_of(_BEFORE_NUMBER)})\. ?(?=[A-Z]-?\d)")
_AGAINST = re.compile(r"(?<=[A-Za-z.] )v\. ?(?=[A-Z])")
# "MR. JONES": an abbreviation in capitals, which is one only beside other capitals.
_CAPITALS = re.compile(rf"{_WORD}({_any_of(_IN_CAPITALS)})\.")
_NEAR_CHARACTERS = 40
_DAY = re.compile(
    r"\b((?:[Oo]n|[Nn]ext|[Ll]ast|[Ee]very|[Tt]his|[Uu]ntil|[Bb]y|[Ff]rom|to|through) )"
    rf"({_any_of(_DAYS)})\."
)
_MONTH = re.compile(
    rf"\b((?:[Ii]n|[Nn]ext|[Ll]ast|[Ss]ince|[Uu]ntil|[Bb]y|of) )({_any_of(_MONTHS)})\."
)
_ALWAYS = re.compile(rf"{_WORD}({_any_of(_ANYWHERE)})\.(?![\w])")
_ENTIRE = re.compile(rf"(?<![\w./'’@-])({_any_of(_WHOLE)})(?![\w/])")
_SAINT = re.compile(r"(?<![\w.'’-])(?:([\w'’]+) )?St\b(\.?)(?:( )(?=[A-Z]))?")
_DRIVE = re.compile(r"\b(?!The |A )([A-Z][\w']* )Dr\.(?! [\"“(]?[A-Z])")


def expand_abbreviations(text: str) -> str:
    """Words for abbreviations; "at Apple Inc." ends in "Incorporated."."""
    text = _ENTIRE.sub(lambda found: _WHOLE[found[1]], text)
    text = _CAPITALS.sub(_write_plainly, text)
    text = _SAINT.sub(_saint_or_street, text)
    text = _DRIVE.sub(lambda found: found[1] + "Drive" + kept_stop(found), text)
    text = _NUMBERED.sub(lambda found: _BEFORE_NUMBER[found[1]] + " ", text)
    text = _LETTER_AND_NUMBER.sub(lambda found: _BEFORE_NUMBER[found[1]] + " ", text)
    text = _AGAINST.sub("versus ", _LETTER.sub(_read_lettered, text))
    text = _TITLE.sub(_expand_title, text)
    text = _DAY.sub(lambda found: found[1] + _DAYS[found[2]] + kept_stop(found), text)
    text = _MONTH.sub(lambda found: found[1] + _MONTHS[found[2]] + kept_stop(found), text)
    return _ALWAYS.sub(lambda found: _ANYWHERE[found[1]] + kept_stop(found), text)


def kept_stop(found: re.Match[str]) -> str:
    """A full stop if the one that `found` ends with also ends the sentence, else nothing."""
    text, end = found.string, found.end()
    ends = _TEXT_ENDS.match(text, end) or _SENTENCE_STARTS.match(text, end)
    return "." if ends else ""


def _write_plainly(found: re.Match[str]) -> str:
    """ "MR." -> "Mr.", if the words beside it are in capitals too."""
    before = found.string[max(0, found.start() - _NEAR_CHARACTERS) : found.start()]
    after = found.string[found.end() : found.end() + _NEAR_CHARACTERS]
    return f"{_IN_CAPITALS[found[1]]}." if is_in_capitals(before, after) else found[0]


def _read_lettered(found: re.Match[str]) -> str:
    """ "Vol. IV" -> "Volume four", "Fig. A" -> "Figure " before the letter."""
    numeral = found[2]
    return f"{_LETTERED[found[1]]} {cardinal(roman_value(numeral)) if numeral else ''}"


def _expand_title(found: re.Match[str]) -> str:
    title, stop = found.groups()
    return f"{_TITLES[title]} " if stop or title in _STOPLESS else found[0]


def _saint_or_street(found: re.Match[str]) -> str:
    """Saint before a name, unless it follows the name of a street: "Baker St. London"."""
    before, stop, name_follows = found.groups()
    start = f"{before} " if before else ""
    is_first = not found.string[: found.start()].strip()
    is_name = before is not None and before not in _SHOUTED_LINKS
    after_name = is_name and (before[0].isupper() or before[0].isdigit())
    if name_follows and not (after_name and not is_first):
        return f"{start}Saint "
    if not stop or not before:
        return found[0]
    return f"{start}Street{kept_stop(found) if not name_follows else ''}{name_follows or ''}"
