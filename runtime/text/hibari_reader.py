"""hibari's reader of English, loaded in a fraction of the time and memory that it takes itself.

In: the installed package. Out: its subpackage `g2p`, whose tables stay the JSON text that they are
stored as: an entry is looked up in the text when a word needs it. As Python objects its 220,000
words and 80,000 features take 105 MB. It does not know what is read.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError

PACKAGE = "hibari"
_ALIAS = "runtime.text.hibari_g2p"  # so that whoever imports hibari itself gets all of it
_GZIP = 31  # zlib's number for a gzip header
_SIZE_BYTES = 4  # at the end of a gzip file
_CHECKED_KEYS = 64
_PIECE = 2**15  # bytes that are searched at a time: large arrays would stay in the heap
_WORDS, _VOCABULARY, _FEATURES = b',"tagdict":', b',"vocab":', b',"weights":'
_STRING = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"')
_LABELLED = re.compile(_STRING.pattern + rb":" + _STRING.pattern)
_FLAT_OBJECT = re.compile(rb"\{[^}]*\}")


def find_hibari() -> Path | None:
    """The package's folder; None if it is not installed."""
    spec = find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


@cache
def load_g2p() -> Any:
    """The subpackage `hibari.g2p`, without the package around it, which brings what it speaks with.

    Raises:
        ImportError: it is not installed, or has no such part.
        UserError: it is another version, whose tables have another form.
    """
    folder = find_hibari()
    if folder is None:
        raise ImportError(f"no package {PACKAGE}")
    source = folder / "g2p" / "__init__.py"
    spec = spec_from_file_location(_ALIAS, source, submodule_search_locations=[str(source.parent)])
    if spec is None or spec.loader is None or not source.is_file():
        raise ImportError(f"{folder} has no part g2p")
    module: Any = module_from_spec(spec)
    sys.modules[_ALIAS] = module  # its own modules import each other through this name
    spec.loader.exec_module(module)
    load_whole = module._load_json

    def load_table(name: str) -> Any:
        if name.startswith("lexicon_"):
            return SortedWords(_decompress(folder / "assets" / name))
        if name.startswith("tagger."):
            return read_tagger(_decompress(folder / "assets" / name))
        return load_whole(name)

    make_tagger = module.Tagger

    def open_tagger(tables: dict[str, Any]) -> Any:
        vocabulary = tables.pop("vocab")  # the tagger would make a set of it
        tagger = make_tagger(tables)
        tagger.vocab = vocabulary
        return tagger

    module._load_json, module.Tagger = load_table, open_tagger
    return module


class SortedWords(Mapping[str, Any]):
    """A JSON object whose keys are sorted, as its text without spaces."""

    def __init__(self, text: bytes) -> None:
        """Raises `UserError` for text with spaces, or keys in another order."""
        if not text.startswith(b'{"') or b'": ' in text[:_PIECE]:
            raise _other_version("a lexicon is written in another way")
        self._text = text
        self._starts = _top_level_keys(text)
        every = max(1, len(self._starts) // _CHECKED_KEYS)
        some = [self._key_at(start) for start in self._starts[::every]]
        if some != sorted(set(some)):
            raise _other_version("a lexicon is not sorted")

    def __getitem__(self, word: str) -> Any:
        key = _written(word)
        at = bisect_left(self._starts, key, key=self._key_at)
        if at == len(self._starts) or self._key_at(self._starts[at]) != key:
            raise KeyError(word)
        value = self._starts[at] + len(key) + 2
        behind = self._starts[at + 1] - 2 if at + 1 < len(self._starts) else -1
        return json.loads(self._text[value:behind])

    def __iter__(self) -> Iterator[str]:
        return (json.loads(b'"%b"' % self._key_at(start)) for start in self._starts)

    def __len__(self) -> int:
        return len(self._starts)

    def _key_at(self, start: int) -> bytes:
        return self._text[start : self._text.index(b'":', start)]


class Keys(Collection[str]):
    """Strings that stand in a JSON text in any order, found by their hashes."""

    def __init__(self, text: bytes, starts: array[int], strings: Iterable[bytes]) -> None:
        """strings: as they are written. starts: of each, behind its quotation mark."""
        self._text = text
        hashes = np.fromiter(map(hash, strings), np.int64, len(starts)).astype(np.uint32)
        order = np.argsort(hashes)
        self._hashes, self._starts = hashes[order], np.frombuffer(starts, np.intc)[order]

    def find(self, key: str) -> int | None:
        """Where the text goes on behind a key and its quotation mark."""
        written = _written(key)
        wanted = np.uint32(hash(written) % 2**32)  # a plain int would make NumPy widen all hashes
        at = int(self._hashes.searchsorted(wanted))
        while at < len(self._hashes) and self._hashes[at] == wanted:
            start = int(self._starts[at])
            if self._text.startswith(written + b'"', start):
                return start + len(written) + 1
            at += 1
        return None

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.find(key) is not None

    def __iter__(self) -> Iterator[str]:
        for start in self._starts.tolist():
            yield json.loads(_found(_STRING, self._text, start - 1))

    def __len__(self) -> int:
        return len(self._starts)


class Entries(Mapping[str, Any]):
    """A JSON object in any order, as its text without spaces."""

    def __init__(self, text: bytes, keys: Keys, value: re.Pattern[bytes]) -> None:
        """value: what all values look like."""
        self._text, self._keys, self._value = text, keys, value

    def __getitem__(self, key: str) -> Any:
        behind = self._keys.find(key)
        if behind is None:
            raise KeyError(key)
        return json.loads(_found(self._value, self._text, behind + 1))

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def read_tagger(text: bytes) -> dict[str, Any]:
    """The tagger's four tables, from their text.

    Raises:
        UserError: they stand in another order, or are written in another way.
    """
    words, vocabulary, features = map(text.find, (_WORDS, _VOCABULARY, _FEATURES))
    if not 0 < words < vocabulary < features or not text.endswith(b"}}}"):
        raise _other_version("the tagger's tables are in another order")
    tables: dict[str, Any] = json.loads(text[:words] + b"}")
    starts = _top_level_keys(text, features + len(_FEATURES))
    keys = Keys(text, starts, (text[start : text.index(b'":{', start)] for start in starts))
    labelled = _find_strings(_LABELLED, text, words + len(_WORDS), vocabulary)
    return tables | {
        "tagdict": Entries(text, labelled, _STRING),
        "vocab": _find_strings(_STRING, text, vocabulary + len(_VOCABULARY), features),
        "weights": Entries(text, keys, _FLAT_OBJECT),
    }


def _find_strings(pattern: re.Pattern[bytes], text: bytes, begin: int, end: int) -> Keys:
    """The first group of all that the pattern finds."""
    found = partial(pattern.finditer, text, begin, end)
    return Keys(text, array("i", (m.start(1) for m in found())), (m[1] for m in found()))


def _found(pattern: re.Pattern[bytes], text: bytes, at: int) -> bytes:
    match = pattern.match(text, at)
    if match is None:
        raise _other_version("a table is written in another way")
    return match[0]


def _top_level_keys(text: bytes, begin: int = 0) -> array[int]:
    """Where the keys of a JSON object begin, behind their quotation marks. Values are strings, or
    objects of strings and numbers."""
    signs = np.frombuffer(text, np.uint8)
    starts, depth = array("i", [begin + 2]), 0
    for first in range(begin + 1, len(text) - 1, _PIECE):
        # With a neighbour on each side.
        piece = signs[first - 1 : min(first + _PIECE, len(text) - 1) + 1]
        commas, opened, closed = (_places(piece, sign) for sign in ",{}")
        before, after = piece[commas - 1], piece[commas + 1]
        is_key = (after == ord('"')) & ((before == ord('"')) | (before == ord("}")))
        commas = commas[is_key]
        opened = opened[piece[opened - 1] == ord(":")]
        closed = closed[piece[closed + 1] == ord(",")]
        depths = depth + opened.searchsorted(commas) - closed.searchsorted(commas)
        starts.frombytes((commas[depths == 0] + first + 1).astype(np.intc).tobytes())
        depth += len(opened) - len(closed)
    return starts


def _places(piece: NDArray[np.uint8], sign: str) -> NDArray[np.int64]:
    return np.flatnonzero(piece[1:-1] == ord(sign)) + 1


def _written(key: str) -> bytes:
    """A key as it stands in the text."""
    return json.dumps(key, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")


def _decompress(path: Path) -> bytes:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        size = int.from_bytes(content[-_SIZE_BYTES:], "little")
        return zlib.decompress(content, _GZIP, max(1, min(size, 2**28)))


def _other_version(what: str) -> UserError:
    return UserError(f"hibari-tts: {what}, which is new to this version; install hibari-tts 0.2.1")
