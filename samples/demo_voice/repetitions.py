"""Sentences in which words come twice, which WordNet's examples rarely have.

In: statements without their full stops. Out: long sentences of several of them, the same for the
same input. A model that finds its place in the text by what it has just said loses it where the
same has been said before: some statements repeat a few words, some end with an idiom that does
("over and over again"), some are lists of things that begin alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

SEED = 5
WORDS = (14, 32)  # a sentence ends with the statement that reaches a length drawn from these
MOST_REPEATED = 3  # words

_SEPARATORS = (" ", " and ", ", ", ", and ")
# lists, their parts set off by commas
_IDIOMS = (
    "again and again, over and over, over and over again, from time to time, day after day, "
    "step by step, one by one, one after another, more and more, little by little, side by side, "
    "back and forth, year after year, hand in hand, all over again, on and on, night after night, "
    "from door to door, from hand to hand, face to face, word for word, bit by bit, "
    "time and time again, for ever and ever, from one day to the next, from house to house, "
    "now and then, every now and then, once and for all, in and out, up and down, "
    "week after week, from bad to worse, round and round"
)
_OPENINGS = "they found, she carried, there was nothing but, he asked for, we shared"
_BEGINNINGS = (
    "one, the, a, no, her, their, every, his old, my small, some green, the red, the quiet, "
    "the broken, the heavy, the white, the long, the empty"
)
_THINGS = (
    "lamp, chair, table, book, letter, river, garden, horse, window, basket, song, stone, bread, "
    "train, bridge, hat, dog, road, boat, coat, bell, spoon, ribbon, mirror, pencil, candle, "
    "flower, ship, clock, bottle"
)


def add_repetitions(statements: Sequence[str]) -> Iterator[list[str]]:
    """Statements in a random order, a few to a sentence, about two in three of them with a
    repetition. Ends when they run out."""
    choice = random.Random(SEED)
    shuffled = iter(choice.sample(list(statements), len(statements)))
    while True:
        words, parts = choice.randint(*WORDS), list[str]()
        while sum(len(part.split()) for part in parts) < words:
            statement = next(shuffled, "")
            if not statement:
                return
            parts.append(_with_repetition(statement, choice))
        yield parts


def _with_repetition(statement: str, choice: random.Random) -> str:
    chance = choice.random()
    if chance < 0.35:
        return repeat_words(statement, choice)
    if chance < 0.55:
        return f"{statement} {choice.choice(_parts(_IDIOMS))}"
    return _list_things(choice) if chance < 0.65 else statement


def repeat_words(statement: str, choice: random.Random) -> str:
    """Say one to three words of it twice in a row; the first, with its capital letter, once."""
    words = statement.split()
    count = choice.randint(1, min(MOST_REPEATED, len(words) - 1))
    first = choice.randint(1, len(words) - count)
    separator = choice.choice(_SEPARATORS)
    return f"{' '.join(words[: first + count])}{separator}{' '.join(words[first:])}"


def _list_things(choice: random.Random) -> str:
    beginning = choice.choice(_parts(_BEGINNINGS))
    first, second, third = (f"{beginning} {thing}" for thing in choice.sample(_parts(_THINGS), 3))
    return f"{choice.choice(_parts(_OPENINGS))} {first}, {second}, and {third}"


def _parts(listed: str) -> list[str]:
    return listed.split(", ")
