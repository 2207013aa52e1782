"""Faults of speech beyond its words: an odd length, and words said twice.

In: the reading of a text, its duration, and the words that were heard. Out: yes or no. Recognisers
write fluent English for drawn-out vowels and babble, and understand single words badly; the
duration shows both. It asks no judge.
"""

from __future__ import annotations

from collections import Counter

from evaluation.recognisers import normalise

# An ordinary pace in seconds: reading aloud at about 200 words a minute.
_SECONDS_PER_TEXT, _SECONDS_PER_WORD, _SECONDS_PER_LETTER = 0.1, 0.16, 0.035
SHORTEST, LONGEST = 0.45, 2.0  # times the duration at an ordinary pace
_ALLOWED_SILENCE_SECONDS = 0.3
MOST_WORDS_REPEATED = 4


def has_plausible_length(reading: str, seconds: float) -> bool:
    """Whether a person could read it in this time, neither in haste nor drawn out."""
    letters = sum(map(str.isalnum, reading))
    usual = (
        _SECONDS_PER_TEXT + _SECONDS_PER_WORD * len(reading.split()) + _SECONDS_PER_LETTER * letters
    )
    return SHORTEST * usual <= seconds <= LONGEST * usual + _ALLOWED_SILENCE_SECONDS


def repeats_itself(reading: str, heard: str) -> bool:
    """Whether a sequence of up to four words was heard twice in a row more often than expected."""
    return bool(_repetitions(heard) - _repetitions(reading))


def _repetitions(text: str) -> Counter[tuple[str, ...]]:
    words = normalise(text).split()
    return Counter(
        tuple(words[first : first + count])
        for count in range(1, MOST_WORDS_REPEATED + 1)
        for first in range(len(words) - 2 * count + 1)
        if words[first : first + count] == words[first + count : first + 2 * count]
    )
