"""Phonemes of an utterance, written in the symbols of a tokenizer, as at run time.

In: an utterance whose text is phonemes, and a function that says whether the tokenizer has a
symbol. Out: the utterance with missing signs and phonemes replaced, and with durations for the new
text. If the tokenizer was made from the same texts, it has all symbols, and nothing changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from formats.tokens import TokenizedUtterance
from runtime.text.signs import Holds, Part, fit_phonemes, join_parts


def fit_utterance(utterance: TokenizedUtterance, holds: Holds) -> TokenizedUtterance:
    """The utterance with a text and durations that the tokenizer can write."""
    parts = fit_phonemes(utterance.text, holds)
    text = join_parts(parts)
    if text == utterance.text:
        return utterance
    frames = utterance.symbol_frames
    if frames is not None:
        frames = tuple(_fit_frames(frames, parts, len(utterance.text)))
    return dataclasses.replace(utterance, text=text, symbol_frames=frames)


def _fit_frames(frames: Sequence[int], parts: Sequence[Part], characters: int) -> list[int]:
    """Frames of the written characters. The frames of a character that is left out are added to the
    character before it."""
    has_silences = len(frames) == characters + 2
    if not has_silences and len(frames) != characters:
        return [*frames]  # they do not fit the text, which is reported where they are used
    fitted, at = [frames[0] if has_silences else 0], int(has_silences)
    for part in parts:
        counts = frames[at : at + len(part.source)]
        at += len(part.source)
        if part.written == part.source:
            fitted += counts
        elif part.written:
            fitted += [sum(counts), *[0] * (len(part.written) - 1)]
        else:
            fitted[-1] += sum(counts)
    if has_silences:
        return [*fitted, frames[-1]]
    first, *others = fitted
    return [first + others[0], *others[1:]] if others else []
