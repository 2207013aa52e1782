"""Whether a checkpoint's tokenizer has the symbols that its text frontend writes.

In: a checkpoint. Out: the symbols that it lacks: some are read as others, and some cannot be read.
A model that was trained on its frontend's output has most signs, but seldom all.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from export.readers.checkpoint import Checkpoint
from runtime.text.frontends import HIBARI, HIBARI_SYMBOLS
from runtime.text.signs import PAUSES, QUOTES, STOPS, fit_phonemes
from runtime.text.symbols import HeldSymbols

NEEDED_SIGNS = " ,."  # others are read as these
TYPED = string.ascii_letters + string.digits + " .,!?;:'\"()-"  # what English is spelt with


@dataclass(frozen=True)
class LackingSymbols:
    """replaced: signs that are read as a comma, a stop or nothing. lost: symbols that cannot be
    read."""

    replaced: tuple[str, ...]
    lost: tuple[str, ...]


def find_lacking(checkpoint: Checkpoint) -> LackingSymbols:
    """Symbols without a token: the frontend's, or those that people type if there is none."""
    symbols, frontend = HeldSymbols(checkpoint.tokenizer), checkpoint.config.text_frontend
    if frontend.kind != HIBARI:
        return LackingSymbols((), symbols.find_missing(TYPED))
    written = HIBARI_SYMBOLS[frontend.language]
    missing = [sign for sign in written if not symbols.holds(sign)]
    lost = [sign for sign in missing if any(p.is_lost for p in fit_phonemes(sign, symbols.holds))]
    lost += [sign for sign in missing if sign in NEEDED_SIGNS]
    signs = [sign for sign in missing if sign in STOPS + PAUSES + QUOTES and sign not in lost]
    return LackingSymbols(tuple(signs), tuple(lost))


def describe_symbols(symbols: tuple[str, ...]) -> str:
    """The symbols in one line, a space as "(space)"."""
    return " ".join("(space)" if symbol == " " else symbol for symbol in symbols)


def tell_lacking_symbols(checkpoint: Checkpoint) -> None:
    """Print which symbols of its texts the model does not know."""
    lacking = find_lacking(checkpoint)
    if lacking.replaced:
        print(f"signs read as commas, stops or nothing: {describe_symbols(lacking.replaced)}")
    if lacking.lost:
        print(
            f"warning: {checkpoint.folder}: the tokenizer has no symbol for "
            f"{describe_symbols(lacking.lost)}; texts that need them are not read whole"
        )
