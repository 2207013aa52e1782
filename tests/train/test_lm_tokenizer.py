"""Speech tokens get the published ids; tokenizers are read in both forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from runtime.errors import UserError
from train.tokenizer import (
    MTP_TOKENS,
    NTP_TOKENS,
    add_speech_tokens,
    build_phoneme_tokenizer,
    load_tokenizer,
    read_speech_tokens,
    save_tokenizer,
)


def base_tokenizer() -> Tokenizer:
    """Byte-level BPE without merges, with Qwen2's own special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>"])
    return tokenizer


def test_mtp_ids_follow_the_published_order() -> None:
    tokenizer = base_tokenizer()
    first = tokenizer.get_vocab_size()
    add_speech_tokens(tokenizer, mtp=True)
    named = ["[Human]", "[Assistant]", "<sosp>", "<|placeholder|>", "<a0>", "<a1023>", "<b0>"]
    vocabulary = tokenizer.get_vocab()
    ids = [vocabulary[token] - first for token in [*named, "<c0>", "<eosp>"]]
    assert ids == [0, 1, 2, 3, 4, 1027, 1028, 2052, 3076]
    assert vocabulary["<|speech_pad|>"] - first == 3077 == len(MTP_TOKENS) - 1


def test_ntp_ids_follow_the_published_order() -> None:
    tokenizer = base_tokenizer()
    first = tokenizer.get_vocab_size()
    add_speech_tokens(tokenizer, mtp=False)
    last = ["<a0>", "<sosp>", "<eosp>", "[Human]", "[Assistant]", "<|placeholder|>", "[ta]", "[ua]"]
    ids = [tokenizer.get_vocab()[token] - first for token in last]
    assert ids == [0, 3072, 3073, 3074, 3075, 3076, 3077, 3078]
    assert len(NTP_TOKENS) == 3079
    assert tokenizer.token_to_id("<|speech_pad|>") is None


def test_head_ids() -> None:
    tokenizer = build_phoneme_tokenizer(["ab"], mtp=True)
    tokens = read_speech_tokens(tokenizer, "here")
    assert len(tokens.head_ids(2)) == 1025
    assert len(tokens.head_ids(4)) == 1026
    assert tokens.head_ids(4)[:2] == (tokens.codes[1][0], tokens.codes[1][1])
    assert tokens.head_ids(4)[-2:] == (tokens.end, tokens.pad)
    assert tokens.largest == tokenizer.get_vocab_size() - 1


def test_phonemes_with_stress_are_one_token() -> None:
    tokenizer = build_phoneme_tokenizer(["hˌi hæd", "mˈʌni."], mtp=True)
    assert tokenizer.encode("mˈʌni hˌi").tokens == ["m", "ˈʌ", "n", "i", " ", "h", "ˌi"]
    assert tokenizer.encode("hˈʌq", add_special_tokens=False).tokens == ["h", "ˈʌ", "<unk>"]
    spoken = tokenizer.encode("hˌi<sosp>", add_special_tokens=False)
    assert spoken.tokens[-1] == "<sosp>"
    assert tokenizer.encode("<a7><c1023>").tokens == ["<a7>", "<c1023>"]


def test_same_texts_give_the_same_ids() -> None:
    texts = ["wˈʌn", "tˈu"]
    one = build_phoneme_tokenizer(texts, mtp=True).get_vocab()
    assert one == build_phoneme_tokenizer(texts[::-1], mtp=True).get_vocab()


def test_saved_tokenizer_is_read_by_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = build_phoneme_tokenizer(["abc"], mtp=True)
    save_tokenizer(tokenizer, tmp_path, 99)
    fast = AutoTokenizer.from_pretrained(tmp_path)
    assert (
        fast("ab<sosp>", add_special_tokens=False)["input_ids"]
        == tokenizer.encode("ab<sosp>", add_special_tokens=False).ids
    )
    assert fast.bos_token == "<|im_start|>"
    assert fast.model_max_length == 99


def test_slow_tokenizer_files(tmp_path: Path) -> None:
    """What the published code saves: vocab.json, merges.txt, added_tokens.json."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate([*letters, "Th", "ey", "Ġk"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nT h\ne y\nĠ k\n")
    added = ["<|endoftext|>", "<|im_start|>", *MTP_TOKENS]
    ids = {token: len(vocabulary) + i for i, token in enumerate(added)}
    (tmp_path / "added_tokens.json").write_text(json.dumps(ids))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("They know<sosp>").tokens == [*["Th", "ey", "Ġk"], *"now", "<sosp>"]
    assert read_speech_tokens(tokenizer, "x").start == ids["<sosp>"]
    del ids["[Human]"]
    (tmp_path / "added_tokens.json").write_text(json.dumps(ids))
    with pytest.raises(UserError, match="gap before"):
        load_tokenizer(tmp_path)


def test_tokenizer_faults(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither tokenizer\.json nor"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match="no '<sosp>'"):
        read_speech_tokens(base_tokenizer(), "x")
    with pytest.raises(UserError, match="not Qwen2"):
        add_speech_tokens(Tokenizer(models.BPE()), mtp=True)
