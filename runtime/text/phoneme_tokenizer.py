"""Tokenizers of phonemes, read without the package `tokenizers`.

In: a `tokenizer.json` as `train.lm` writes it for voices that read phonemes. Out: token ids and
where they stand in the text, the same as the package's. It knows this one form: symbols of one
phoneme with the stress marks before it, each with a token of its own, and added tokens. Any other
file is the package's. A voice that reads phonemes is loaded sooner without it, and in 9 MB less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from typing_extensions import Self

_SYMBOL = re.compile("([ˈˌ]*.)")
_SPLIT = {
    "type": "Split",
    "pattern": {"Regex": "[ˈˌ]*."},
    "behavior": "Isolated",
    "invert": False,
}


class Encoding(Protocol):
    """ids: of the tokens. offsets: where each begins and ends, in characters."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[tuple[int, int]]: ...


class TextTokenizer(Protocol):
    """What the runtime asks of a tokenizer: `tokenizers.Tokenizer`, or a `PhonemeTokenizer`."""

    def encode(self, text: str, /, *, add_special_tokens: bool) -> Encoding: ...

    def decode(self, ids: list[int], /, *, skip_special_tokens: bool) -> str: ...

    def get_vocab(self) -> dict[str, int]: ...

    def get_vocab_size(self) -> int: ...


class _Encoded(NamedTuple):
    ids: list[int]
    offsets: list[tuple[int, int]]


class _Model(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["WordLevel"]
    vocab: dict[str, int]
    unk_token: str


class _Added(msgspec.Struct, forbid_unknown_fields=True):
    id: int
    content: str
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool
    special: bool

    def is_plain(self) -> bool:
        """Whether it is found as it is, wherever it stands."""
        return bool(self.content) and not (
            self.single_word or self.lstrip or self.rstrip or self.normalized
        )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The one form of a file."""

    version: str
    truncation: dict[str, Any] | None  # neither is used when a bundle speaks
    padding: dict[str, Any] | None
    added_tokens: list[_Added]
    normalizer: None
    pre_tokenizer: dict[str, Any]
    post_processor: None
    decoder: dict[str, Any]
    model: _Model


class PhonemeTokenizer:
    """See `TextTokenizer`. It has no truncation, no padding and no special tokens."""

    def __init__(self, symbols: dict[str, int], added: dict[str, int], unknown: str) -> None:
        """symbols, added: the ids. unknown: the symbol that stands for all others."""
        self._symbols, self._added = symbols, added
        self.unknown_id = symbols[unknown]
        self._first = frozenset(token[0] for token in added)
        self._lengths = sorted({len(token) for token in added}, reverse=True)

    @classmethod
    def from_file(cls, path: Path) -> Self | None:
        """The tokenizer of a file; None if it has another form, or is damaged."""
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_File)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        symbols, unknown = file.model.vocab, file.model.unk_token
        added = {token.content: token.id for token in file.added_tokens}
        if (
            file.pre_tokenizer == _SPLIT
            and file.decoder == {"type": "Fuse"}
            and unknown in symbols
            and all(token.is_plain() for token in file.added_tokens)
            and not added.keys() & symbols.keys()
            # The package numbers other added tokens anew.
            and sorted(symbols.values()) == [*range(len(symbols))]
            and [*added.values()] == [*range(len(symbols), len(symbols) + len(file.added_tokens))]
        ):
            return cls(symbols, added, unknown)
        return None

    def encode(self, text: str, /, *, add_special_tokens: bool = False) -> _Encoded:
        """The tokens of a text. add_special_tokens: changes nothing."""
        ids, offsets = [], []
        for token, begin, end in self._tokens(text):
            ids.append(token)
            offsets.append((begin, end))
        return _Encoded(ids, offsets)

    def decode(self, ids: list[int], /, *, skip_special_tokens: bool = False) -> str:
        """The text of tokens. skip_special_tokens: must be False."""
        assert not skip_special_tokens, "added tokens are not told apart"
        strings = {number: token for token, number in self.get_vocab().items()}
        return "".join(strings.get(number, "") for number in ids)

    def get_vocab(self) -> dict[str, int]:
        """All tokens and their ids."""
        return self._symbols | self._added

    def get_vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self._symbols) + len(self._added)

    def _tokens(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Ids, begins and ends: added tokens, and symbols between them."""
        begin = at = 0
        while at < len(text):
            if token := self._added_at(text, at):
                yield from self._symbols_of(text[begin:at], begin)
                begin = at + len(token)
                yield self._added[token], at, begin
            at = max(at + 1, begin)
        yield from self._symbols_of(text[begin:], begin)

    def _added_at(self, text: str, at: int) -> str | None:
        """The longest added token that begins at a place."""
        if text[at] not in self._first:
            return None
        candidates = (text[at : at + length] for length in self._lengths)
        return next((token for token in candidates if token in self._added), None)

    def _symbols_of(self, text: str, begin: int) -> Iterator[tuple[int, int, int]]:
        for symbol in _SYMBOL.split(text):  # symbols, and what lies between them: ends of lines
            if symbol:
                end = begin + len(symbol)
                yield self._symbols.get(symbol, self.unknown_id), begin, end
                begin = end
