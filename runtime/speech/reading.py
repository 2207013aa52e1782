"""Reads a whole text: cuts it into sentences, and names the words that cannot be read.

In: text and a bundle's `PromptReader`. Out: the sentences that can be spoken, each read once. What
cannot be read is skipped and named in a `TextWarning`, or refused (`strict`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

from commands.errors import TextWarning, UserError
from runtime.speech.prompt import PromptReader, ReadSentence
from runtime.text.frontends import list_words
from runtime.text.sentences import split_sentences, split_to_fit
from runtime.text.typed_text import check_text

_CALLER = 5  # frames from `warnings.warn` to the caller of `TTS.synthesize` or `TTS.stream`


def read_text(text: str, prompts: PromptReader, *, strict: bool = False) -> list[ReadSentence]:
    """The utterances that `text` will be spoken as; a single sentence is read unchanged.

    Raises:
        UserError: text that cannot be spoken, or, if `strict`, not all of it.
    """
    sentences = split_text(text, prompts)
    spoken = [sentence for sentence in sentences if sentence.ids]
    if not spoken:
        raise UserError(
            f"nothing in {text.strip()[:40]!r} can be read: this voice reads {prompts.letters}; "
            "change the text"
        )
    verb = "cannot read" if strict else "skipped"
    _tell_unread(_describe_unread(sentences, prompts.letters, verb), strict)
    return spoken


def split_text(text: str, prompts: PromptReader) -> list[ReadSentence]:
    """All sentences of a text, including those with nothing to read."""
    check_text(text)
    known: dict[str, ReadSentence] = {}

    def fits(piece: str) -> bool:
        read = known.get(piece) or prompts.read_to_fit(piece)
        if read is None:
            return False
        known[piece] = read
        return True

    return [
        known[piece] for sentence in split_sentences(text) for piece in split_to_fit(sentence, fits)
    ]


def read_question(question: str, prompts: PromptReader, *, strict: bool = False) -> None:
    """Check a question that goes into the prompt as it is.

    Raises:
        UserError: a question that cannot be read, or, if `strict`, not all of it.
    """
    check_text(question)
    missing = prompts.find_missing(question)
    if all(character in missing for character in question if character.isalnum()):
        raise UserError(
            f"nothing in {question.strip()[:40]!r} can be read: this model reads "
            f"{prompts.letters}; change the question"
        )
    _tell_unread(_describe_missing(missing), strict)


def _tell_unread(complaints: Sequence[str], strict: bool) -> None:
    """Warn of parts that are not read, or refuse them."""
    if strict and complaints:
        raise UserError(f"{'; '.join(complaints)}; change the text, or leave out strict")
    for complaint in complaints:
        warnings.warn(complaint, TextWarning, stacklevel=_CALLER)


def _describe_unread(sentences: Iterable[ReadSentence], letters: str, verb: str) -> list[str]:
    skipped = tuple(word for sentence in sentences for word in sentence.skipped)
    missing = tuple(symbol for sentence in sentences for symbol in sentence.missing)
    told = [f"{verb} {list_words(skipped)}: this voice reads {letters}"] if skipped else []
    return told + _describe_missing(missing)


def _describe_missing(missing: tuple[str, ...]) -> list[str]:
    if not missing:
        return []
    return [f"this voice has no symbol for {list_words(missing)} and may say something else there"]
