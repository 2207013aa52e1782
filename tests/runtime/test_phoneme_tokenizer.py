"""Tokenizers of phonemes: the ids, offsets and texts of the package, and no other files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from formats.checkpoint.tokenizer import add_tokens, build_phoneme_tokenizer
from runtime.text.phoneme_tokenizer import PhonemeTokenizer

TEXTS = ("həlˈO ðˈɛɹ.", "[Human]: wˌʌns", "ˌˈa <b>\n")
PIECES = ("ˈ", "ˌ", "a", "O", "世", "\n", "\r", " ", "<", "[", "]", "<sosp>", "<sosp>x", "[Human]")


def build(folder: Path) -> tuple[Tokenizer, PhonemeTokenizer]:
    """The package's, and the one that is read from its file."""
    tokenizer = build_phoneme_tokenizer(TEXTS, mtp=True)
    add_tokens(tokenizer, ["<sosp>x", "ˈO!"])  # longer than another, and of marks
    path = folder / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    read = PhonemeTokenizer.from_file(path)
    assert read is not None
    return tokenizer, read


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, PhonemeTokenizer]:
    return build(tmp_path_factory.mktemp("tokenizer"))


@given(text=st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join))
def test_tokens_are_the_packages(both: tuple[Tokenizer, PhonemeTokenizer], text: str) -> None:
    whole, ours = both
    expected = whole.encode(text, add_special_tokens=False)
    found = ours.encode(text, add_special_tokens=False)
    assert (found.ids, found.offsets) == (expected.ids, expected.offsets)
    spelt = whole.decode(expected.ids, skip_special_tokens=False)
    assert ours.decode(found.ids, skip_special_tokens=False) == spelt


def test_the_vocabulary_is_the_packages(both: tuple[Tokenizer, PhonemeTokenizer]) -> None:
    whole, ours = both
    assert ours.get_vocab() == whole.get_vocab()
    assert ours.get_vocab_size() == whole.get_vocab_size()
    assert ours.unknown_id == whole.token_to_id("<unk>")


def change(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value in a file's content."""

    def apply(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return apply


@pytest.mark.parametrize(
    "alter",
    [
        change("normalizer", to={"type": "NFC"}),
        change("pre_tokenizer", "pattern", to={"Regex": "."}),
        change("pre_tokenizer", "behavior", to="Removed"),
        change("post_processor", to={"type": "ByteLevel"}),
        change("decoder", to=None),
        change("model", "type", to="BPE"),
        change("model", "unk_token", to="none"),
        change("model", "vocab", "a", to=70_000),
        change("added_tokens", 0, "id", to=70_000),
        change("added_tokens", 0, "content", to=""),
        change("added_tokens", 0, "content", to="a"),
        change("added_tokens", 0, "content", to="<sosp>"),
        change("added_tokens", 0, "lstrip", to=True),
        change("added_tokens", 0, "normalized", to=True),
        change("more", to=1),
    ],
)
def test_other_forms_are_left_to_the_package(
    tmp_path: Path, alter: Callable[[dict[str, Any]], None]
) -> None:
    tokenizer, _ = build(tmp_path)
    content = json.loads(tokenizer.to_str())
    alter(content)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert PhonemeTokenizer.from_file(path) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"version": "1.0"}'])
def test_damaged_files_are_left_to_the_package(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    assert PhonemeTokenizer.from_file(path) is None


def test_special_tokens_are_found_as_others(tmp_path: Path) -> None:
    tokenizer, _ = build(tmp_path)
    tokenizer.add_special_tokens([AddedToken("<s>", special=True, normalized=False)])
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    ours = PhonemeTokenizer.from_file(path)
    assert ours is not None
    text = "a<s>b<s"
    assert ours.encode(text).ids == tokenizer.encode(text, add_special_tokens=False).ids
