"""English as people type it -> English as it is read aloud: words and plain punctuation.

In: a text or a sentence: numbers, money, dates, capitals, signs, addresses, Markdown. Out: letters,
apostrophes, hyphens and `. , ; : ! ? … — – ( ) " “ ”`, no digit; ordinary sentences byte for byte.
It knows no phonemes; which runs of letters are words is for the dictionary that it is given.

What people type is ambiguous. The readings are American ("3/4/2024" is March fourth), and hibari's
where hibari is right, because its voices were trained with them.
"""

from __future__ import annotations

from collections.abc import Container

from runtime.text.spoken_english.abbreviations import expand_abbreviations
from runtime.text.spoken_english.addresses import read_addresses
from runtime.text.spoken_english.amounts import read_amounts
from runtime.text.spoken_english.capitals import drop_diaereses, mark_letter_a, read_capitals
from runtime.text.spoken_english.characters import find_unread_signs, fold_characters
from runtime.text.spoken_english.counts import even_out_numbers, read_counts, read_relations
from runtime.text.spoken_english.dates import read_dates
from runtime.text.spoken_english.markdown import read_entities, strip_markdown
from runtime.text.spoken_english.measures import read_measures
from runtime.text.spoken_english.references import read_references
from runtime.text.spoken_english.roman import read_roman_numerals
from runtime.text.spoken_english.signs import break_long_words, drop_emoticons, read_signs, tidy

__all__ = ["find_unread_signs", "write_as_spoken"]


def write_as_spoken(text: str, words: Container[str]) -> str:
    """The text as words; a text that holds nothing but words and punctuation is returned as it is.

    `words` has the spellings that the phonemizer knows: "this", "Paris", "NASA".
    """
    spoken = drop_emoticons(strip_markdown(fold_characters(read_entities(text))))
    spoken = read_addresses(read_references(spoken), words)
    spoken = expand_abbreviations(spoken)
    spoken = read_dates(read_measures(spoken))
    spoken = read_relations(even_out_numbers(spoken))
    spoken = read_counts(read_amounts(spoken))
    spoken = read_signs(read_roman_numerals(spoken))
    spoken = mark_letter_a(spoken)
    spoken = read_capitals(drop_diaereses(spoken, words), words)
    spoken = break_long_words(spoken, words)
    return text if spoken == text else tidy(spoken)
