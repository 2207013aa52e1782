"""Statements with repeated words, which are rare in WordNet's examples.

In: statements without full stops. Out: statements, the same for the same input. Some repeat a few
words, some end with a repeating idiom ("over and over again"), and some are lists of things with
the same beginning. A model that finds its place in the text by its last words can lose its place if
it said the same words before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

SEED = 5
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


def add_repetitions(statements: Sequence[str]) -> Iterator[str]:
    """The statements in random order, about two thirds of them with a repetition."""
    choice = random.Random(SEED)
    for statement in choice.sample(list(statements), len(statements)):
        chance = choice.random()
        if chance < 0.35 and " " in statement:
            yield repeat_words(statement, choice)
        elif 0.35 <= chance < 0.55:
            yield f"{statement} {choice.choice(_parts(_IDIOMS))}"
        elif 0.55 <= chance < 0.65:
            yield _list_things(choice)
        else:
            yield statement


def repeat_words(statement: str, choice: random.Random) -> str:
    """Repeat one to three words, but not the first word, which has a capital letter. There are two
    words or more."""
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
