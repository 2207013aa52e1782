"""The closed domain: its facts, the questions about them, and the right answers.

Out: facts, each with one right answer and eight questions. One question is kept for validation and
one for the test: a held-out question asks for a known fact in words that the model has heard for
other facts only. It knows no files, voices or models.

The countries are those whose names the judge of spoken answers (evaluation/recognisers.py) spells
correctly when the teachers read "The capital of … is ….": other names would measure the judge.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SPLITS = ("train", "validation", "test")
LARGEST_SUMMAND = 10
LARGEST_MINUEND = 12
CASUAL_SHARE = 0.3  # of the training questions: lower case, no mark at the end

_CAPITALS = """
Afghanistan Kabul, Algeria Algiers, Australia Canberra, Austria Vienna, Belarus Minsk,
Belgium Brussels, Bolivia La_Paz, Brazil Brasilia, Canada Ottawa, Chile Santiago, China Beijing,
Cuba Havana, Denmark Copenhagen, Egypt Cairo, England London, Estonia Tallinn,
Ethiopia Addis_Ababa, Fiji Suva, Finland Helsinki, France Paris, Germany Berlin, Greece Athens,
Guatemala Guatemala_City, Hungary Budapest, Iceland Reykjavik, India New_Delhi,
Indonesia Jakarta, Iran Tehran, Iraq Baghdad, Ireland Dublin, Israel Jerusalem, Italy Rome,
Jamaica Kingston, Japan Tokyo, Kenya Nairobi, Kuwait Kuwait_City, Latvia Riga, Lebanon Beirut,
Libya Tripoli, Lithuania Vilnius, Malaysia Kuala_Lumpur, Mexico Mexico_City, Mozambique Maputo,
New_Zealand Wellington, North_Korea Pyongyang, Norway Oslo, Oman Muscat, Pakistan Islamabad,
Panama Panama_City, Peru Lima, Poland Warsaw, Portugal Lisbon, Qatar Doha, Romania Bucharest,
Russia Moscow, Rwanda Kigali, Saudi_Arabia Riyadh, Scotland Edinburgh, Senegal Dakar,
Serbia Belgrade, Singapore Singapore, Somalia Mogadishu, South_Korea Seoul, Spain Madrid,
Sweden Stockholm, Syria Damascus, Taiwan Taipei, Thailand Bangkok, the_Netherlands Amsterdam,
the_Philippines Manila, the_United_States Washington, Tunisia Tunis, Turkey Ankara,
Uganda Kampala, Ukraine Kiev, Uruguay Montevideo, Venezuela Caracas, Vietnam Hanoi,
Wales Cardiff, Zambia Lusaka
"""
_SMALL = ("nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_TEENS = ("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen")
_NUMBERS = (*_SMALL, *_TEENS, "eighteen", "nineteen", "twenty")

_CAPITAL_QUESTIONS = (
    "What is the capital of {0}?",
    "What's the capital of {0}?",
    "Which city is the capital of {0}?",
    "Tell me the capital of {0}.",
    "Name the capital city of {0}.",
    "Do you know the capital of {0}?",
    "Can you tell me what the capital of {0} is?",
    "The capital of {0}, please.",
)
_SUM_QUESTIONS = (
    "What is {0} plus {1}?",
    "How much is {0} plus {1}?",
    "What do you get if you add {0} and {1}?",
    "Add {0} and {1}.",
    "What is the sum of {0} and {1}?",
    "How much do {0} and {1} make?",
    "Tell me what {0} plus {1} is.",
    "Please add up {0} and {1}.",
)
_DIFFERENCE_QUESTIONS = (
    "What is {0} minus {1}?",
    "How much is {0} minus {1}?",
    "What is left of {0} if you take away {1}?",
    "Subtract {1} from {0}.",
    "What is the difference between {0} and {1}?",
    "Take {1} away from {0}.",
    "Tell me what {0} minus {1} is.",
    "How much is {0} less {1}?",
)


@dataclass(frozen=True)
class Fact:
    """All `questions` ask for `answer`. The last but one is for validation, the last for the
    test."""

    kind: str  # capital, sum, difference
    answer: str
    questions: tuple[str, ...]

    def asked(self, split: str) -> tuple[str, ...]:
        """The questions of a split."""
        first = len(self.questions) - 2
        last = {"train": first, "validation": first + 1, "test": first + 2}[split]
        return self.questions[0 if split == "train" else last - 1 : last]


def facts() -> list[Fact]:
    """All facts, in the same order and with the same questions held out every time."""
    return [*_capitals(), *_sums(), *_differences()]


def casual(question: str) -> str:
    """The question as many people type it: "what is the capital of france"."""
    return question.lower().rstrip("?.")


def _capitals() -> Iterator[Fact]:
    for entry in _CAPITALS.replace("\n", " ").split(", "):
        country, capital = (name.replace("_", " ") for name in entry.split())
        answer = f"The capital of {country} is {capital}."
        yield _fact("capital", answer, _CAPITAL_QUESTIONS, country)


def _sums() -> Iterator[Fact]:
    for a in range(1, LARGEST_SUMMAND + 1):
        for b in range(1, LARGEST_SUMMAND + 1):
            first, second = _NUMBERS[a], _NUMBERS[b]
            answer = f"{first.capitalize()} plus {second} is {_NUMBERS[a + b]}."
            yield _fact("sum", answer, _SUM_QUESTIONS, first, second)


def _differences() -> Iterator[Fact]:
    for a in range(2, LARGEST_MINUEND + 1):
        for b in range(1, a):
            first, second = _NUMBERS[a], _NUMBERS[b]
            answer = f"{first.capitalize()} minus {second} is {_NUMBERS[a - b]}."
            yield _fact("difference", answer, _DIFFERENCE_QUESTIONS, first, second)


def _fact(kind: str, answer: str, templates: tuple[str, ...], *names: str) -> Fact:
    questions = [template.format(*names) for template in templates]
    random.Random(answer).shuffle(questions)
    return Fact(kind, answer, tuple(questions))
