"""Sentences with numbers, times, dates, prices, titles and initials, missing in WordNet's examples.

Out: distinct sentences, the same for the same count. A text frontend turns digits and abbreviations
into words. The model must have heard these, also at the end of a sentence.
"""

from __future__ import annotations

import random
import re

SEED = 0
JOINED_SHARE = 0.3  # share of sentences that join two

_PLACE = re.compile(r"\{(\w+)\}")
_WORDS = {
    "month": "January February March April May June July August September October November "
    "December",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "title": "Mr. Mrs. Ms. Dr. Prof.",
    "name": "Adams Baker Carter Davis Evans Fisher Grant Harris Jackson King Lewis Moore Nelson "
    "Owens Parker Quinn Roberts Taylor Turner Walker White Young",
    "initials": "BBC CNN CIA EU UN USA UK FBI NASA IBM MIT CEO DNA GPS HIV ID IQ PC TV CD DVD LED "
    "PDF USB URL FAQ ATM AC DC VIP",
    "unit": "kg g km cm mm ml",
    "things": "chairs letters tickets boxes lamps houses apples pages steps students horses "
    "windows coins soldiers tables islands",
}
_TEMPLATES = (
    "the train leaves at {time}.",
    "she will be back by {time}.",
    "it was already {time} when the lights went out.",
    "at {time} the doors were locked.",
    "we are open from {hour} to {time}.",
    "he called at {time} and again at {time}.",
    "is {time} too early for you?",
    "the class begins at {hour} o'clock on {day}.",
    "they were married in {year}.",
    "in {year} there were only {count} {things} left.",
    "the war ended in {year}.",
    "from {year} to {year} he lived in the north.",
    "was the house built before {year}?",
    "the law of {year} was changed in {year}.",
    "the meeting is on {date}.",
    "on {date} the river froze.",
    "her birthday is {date}, {year}.",
    "please answer before {date}.",
    "it costs {money}.",
    "they paid {money} for {count} {things}.",
    "for {money} you can buy {count} {things}.",
    "the ticket was {money}, and the meal was {money}.",
    "why does it cost {money}?",
    "prices rose by {percent} in {year}.",
    "only {percent} of the {things} were sold.",
    "more than {percent} agreed with {person}.",
    "the bag weighs {measure}.",
    "it is {measure} from here to the station.",
    "add {measure} of water and stir.",
    "the wall is {measure} thick and {measure} long.",
    "there are {count} {things} in the hall.",
    "I counted {count} {things} and {count} {things}.",
    "room {number} is on floor {hour}.",
    "bus {number} stops at gate {hour}.",
    "the answer is on page {number}.",
    "{person} lives at {number} Park Street.",
    "{person} spoke to {person} at {time}.",
    "have you met {person}?",
    "the letter was signed by {person}.",
    "{person} works for the {initials}.",
    "the {initials} and the {initials} agreed.",
    "we bought a new {initials} for {money}.",
    "he explained the {initials} to {person}.",
    "she left the {initials} in {year}.",
    "what does {initials} stand for?",
    "the door opens with the {initials} card, etc..",
    "the score was {hour} to {number}.",
    "nearly {count} people came on {day}, {date}.",
)


def write_spoken_forms(count: int) -> list[str]:
    """`count` distinct sentences."""
    choice = random.Random(SEED)
    written: dict[str, None] = {}
    while len(written) < count:
        sentence, following = choice.choice(_TEMPLATES), choice.choice(_TEMPLATES)
        if choice.random() < JOINED_SHARE and sentence.endswith("."):
            sentence = f"{sentence[:-1]}, and {following}"
        sentence = _fill(sentence, choice).replace("..", ".")  # "p.m." already ends the sentence
        written[sentence[0].upper() + sentence[1:]] = None
    return list(written)


def _fill(text: str, choice: random.Random) -> str:
    """The text with a new draw in every place; a drawn text may have places itself."""
    return _PLACE.sub(lambda place: _fill(choice.choice(_forms(place[1], choice)), choice), text)


def _forms(place: str, choice: random.Random) -> list[str]:
    """The choices for a place: its words, or several ways to write new numbers."""
    if place in _WORDS:
        return _WORDS[place].split()
    hour, small, large = choice.randint(1, 12), choice.randint(2, 99), choice.randint(100, 9999)
    minutes = f"{choice.randint(1, 11) * 5:02d}"
    forms = {
        "hour": [f"{hour}"],
        "number": [f"{small}", f"{large % 1000}"],
        "count": [f"{small}", f"{large:,}"],
        "percent": [f"{small}%"],
        "money": [f"${small}", f"${small}.50", f"${small}.99", f"${hour}.25", f"{large} dollars"],
        "measure": [f"{small} {{unit}}", f"{large} {{unit}}", f"{hour}.{small % 10} {{unit}}"],
        "time": [
            f"{hour} a.m.",
            f"{hour} p.m.",
            f"{hour}:{minutes} a.m.",
            f"{hour}:{minutes} p.m.",
        ],
        "year": [f"{1900 + small}", f"{1700 + large % 330}"],
        "date": [f"{{month}} {_ordinal(large % 31 + 1)}"],
        "person": ["{title} {name}"],
    }
    return forms[place]


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"} if number not in (11, 12, 13) else {}
    return f"{number}{endings.get(number % 10, 'th')}"
