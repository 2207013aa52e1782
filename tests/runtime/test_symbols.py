"""Tokenizers of every model: which characters have no token."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from runtime.text.symbols import HeldSymbols


def spelt(unknown: str) -> Tokenizer:
    vocabulary = {"a": 0, "b": 1, "<unk>": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return tokenizer


def byte_level() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def split_at_spaces() -> Tokenizer:
    vocabulary = {"a": 0, "##b": 1, "[UNK]": 2}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "missing"),
    [
        (spelt("<unk>"), (" ", "é", "世")),
        (spelt("none"), (" ", "é", "世")),  # a model that fails instead
        (Tokenizer(models.BPE({"a": 0, "b": 1}, [])), ("é", "世")),  # one that leaves them out
        (Tokenizer(models.Unigram([("?", 0.0), ("a", -1.0)], unk_id=0)), ("b", " ", "é", "世")),
        (split_at_spaces(), ("é", "世")),
        (byte_level(), ()),
    ],
)
def test_characters_without_a_token(tokenizer: Tokenizer, missing: tuple[str, ...]) -> None:
    symbols = HeldSymbols(tokenizer)
    assert symbols.find_missing("ab é世世") == missing
    assert symbols.holds("a")
    assert symbols.holds("世") == ("世" not in missing)


def test_byte_level_tokenizers_hold_everything() -> None:
    assert HeldSymbols(byte_level()).find_missing("e\u0301 🙏👩\u200d👧\n\t“ˈA") == ()
