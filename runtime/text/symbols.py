"""Which characters a tokenizer has tokens for.

In: a tokenizer and text. Out: the characters that have no token, or only the unknown token.
Byte-level tokenizers hold every character.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from runtime.text.phoneme_tokenizer import PhonemeTokenizer, TextTokenizer


class HeldSymbols:
    """The symbols that one tokenizer has tokens for."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._unknown = _unknown_id(tokenizer)
        self.holds = functools.lru_cache(maxsize=4096)(self._holds)
        self._is_encoded = functools.lru_cache(maxsize=4096)(self._encode_alone)

    def find_missing(self, text: str) -> tuple[str, ...]:
        """The characters of `text` that have no token, each once, in order."""
        if self._unknown is None:
            missing = [character for character in text if not self._is_encoded(character)]
        else:
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            spans = [
                span
                for token, span in zip(encoding.ids, encoding.offsets, strict=True)
                if token == self._unknown
            ]
            missing = [character for start, end in spans for character in text[start:end]]
        return tuple(dict.fromkeys(missing))

    def _holds(self, symbol: str) -> bool:
        """Whether `symbol`, one character or several, has tokens."""
        return not self.find_missing(symbol)

    def _encode_alone(self, character: str) -> bool:
        """Whether a model without an unknown token encodes a character; some leave out spaces."""
        try:
            encoding = self._tokenizer.encode(character, add_special_tokens=False)
        except Exception:  # the library raises no narrower type
            return False
        return bool(encoding.ids) or character.isspace()


def _unknown_id(tokenizer: Any) -> int | None:
    """The id of the model's unknown token; None if it has none."""
    if isinstance(tokenizer, PhonemeTokenizer):
        return tokenizer.unknown_id
    if hasattr(tokenizer.model, "unk_token"):
        token = tokenizer.model.unk_token
        found: int | None = tokenizer.token_to_id(token) if token else None
        return found
    unk_id: int | None = json.loads(tokenizer.to_str())["model"].get("unk_id")  # Unigram's
    return unk_id
