"""Speech tokens get the published ids; tokenizers are read in both forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from commands.errors import UserError
from formats.checkpoint.tokenizer import (
    add_speech_tokens,
    build_phoneme_tokenizer,
    code_tokens,
    load_tokenizer,
    mtp_tokens,
    ntp_tokens,
    read_speech_tokens,
    save_tokenizer,
)
from formats.streams import FACODEC, Streams


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
    assert vocabulary["<|speech_pad|>"] - first == 3077 == len(mtp_tokens(FACODEC)) - 1


def test_ntp_ids_follow_the_published_order() -> None:
    tokenizer = base_tokenizer()
    first = tokenizer.get_vocab_size()
    add_speech_tokens(tokenizer, mtp=False)
    last = ["<a0>", "<sosp>", "<eosp>", "[Human]", "[Assistant]", "<|placeholder|>", "[ta]", "[ua]"]
    ids = [tokenizer.get_vocab()[token] - first for token in last]
    assert ids == [0, 3072, 3073, 3074, 3075, 3076, 3077, 3078]
    assert len(ntp_tokens(FACODEC)) == 3079
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
    transformers = pytest.importorskip("transformers")
    tokenizer = build_phoneme_tokenizer(["abc"], mtp=True)
    save_tokenizer(tokenizer, tmp_path, 99)
    fast = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (
        fast("ab<sosp>", add_special_tokens=False)["input_ids"]
        == tokenizer.encode("ab<sosp>", add_special_tokens=False).ids
    )
    assert fast.bos_token == "<|im_start|>"
    assert fast.model_max_length == 99


@pytest.mark.parametrize("mtp", [True, False])
def test_streams_of_different_sizes(mtp: bool) -> None:
    streams = Streams((48, 20), 62.5)
    tokenizer = build_phoneme_tokenizer(["ab"], mtp=mtp, streams=streams)
    assert code_tokens(streams)[46:50] == ["<a46>", "<a47>", "<b0>", "<b1>"]
    assert tokenizer.token_to_id("<b20>") is None
    tokens = read_speech_tokens(tokenizer, "here", streams)
    assert [len(tokens.head_ids(head)) for head in range(4)] == (
        [49, 21, 50, 22] if mtp else [49, 21, 49, 21]
    )
    assert (tokens.end_code(3), tokens.pad_code(3)) == (20, 21)
    assert tokens.head_ids(3)[tokens.end_code(3)] == tokens.end
    table = tokens.code_table()
    assert table.shape == (2, 48)
    assert tuple(table[1]) == (*tokens.codes[1], *[-1] * 28)
    with pytest.raises(UserError, match="no '<a48>'"):
        read_speech_tokens(tokenizer, "here")


ADDED = ["<|endoftext|>", "<|im_start|>", *mtp_tokens(FACODEC)]
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def slow_files(tmp_path: Path) -> Path:
    """What the published code saves: vocab.json, merges.txt, added_tokens.json."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate([*letters, "Th", "ey", "Ġk"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nT h\ne y\nĠ k\n")
    ids = {token: len(vocabulary) + i for i, token in enumerate(ADDED)}
    (tmp_path / "added_tokens.json").write_text(json.dumps(ids))
    return tmp_path


def check_slow_tokenizer(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("They know<sosp>").tokens == [*["Th", "ey", "Ġk"], *"now", "<sosp>"]
    first = tokenizer.token_to_id(ADDED[0])
    assert first is not None
    ids = [tokenizer.token_to_id(token) for token in ADDED]
    assert ids == list(range(first, first + len(ADDED)))
    assert read_speech_tokens(tokenizer, "x").start == tokenizer.token_to_id("<sosp>")


def test_slow_tokenizer_files(slow_files: Path) -> None:
    check_slow_tokenizer(slow_files)
    path = slow_files / "added_tokens.json"
    ids = json.loads(path.read_text())
    del ids["[Human]"]
    path.write_text(json.dumps(ids))
    with pytest.raises(UserError, match="gap before"):
        load_tokenizer(slow_files)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "added_tokens.json"])
def test_marks_and_line_ends_of_windows(slow_files: Path, name: str) -> None:
    path = slow_files / name
    path.write_bytes(BOM + path.read_bytes().replace(b"\n", b"\r\n"))
    check_slow_tokenizer(slow_files)


def test_a_mark_in_front_of_tokenizer_json(tmp_path: Path) -> None:
    save_tokenizer(build_phoneme_tokenizer(["ab"], mtp=True), tmp_path, 99)
    expected = load_tokenizer(tmp_path).to_str()
    path = tmp_path / "tokenizer.json"
    path.write_bytes(BOM + path.read_bytes())
    assert load_tokenizer(tmp_path).to_str() == expected


@pytest.mark.parametrize(
    "missing",
    [
        ("vocab.json",),
        ("merges.txt",),
        ("added_tokens.json",),
        ("merges.txt", "added_tokens.json"),
    ],
)
def test_missing_tokenizer_files_are_named(slow_files: Path, missing: tuple[str, ...]) -> None:
    for name in missing:
        (slow_files / name).unlink()
    with pytest.raises(UserError, match=f"tokenizer has no {' and no '.join(missing)};"):
        load_tokenizer(slow_files)


def test_added_tokens_may_be_in_the_settings(slow_files: Path) -> None:
    """transformers writes them into tokenizer_config.json, too."""
    ids = json.loads((slow_files / "added_tokens.json").read_text())
    (slow_files / "added_tokens.json").unlink()
    added = {str(i): {"content": token, "special": True} for token, i in ids.items()}
    settings = slow_files / "tokenizer_config.json"
    settings.write_text(json.dumps({"added_tokens_decoder": added}))
    check_slow_tokenizer(slow_files)
    settings.write_text(json.dumps({"added_tokens_decoder": [1]}))
    with pytest.raises(UserError, match=r"tokenizer_config\.json: 'added_tokens_decoder' is unr"):
        load_tokenizer(slow_files)


def test_a_base_models_tokenizer_beside_the_models_own(slow_files: Path) -> None:
    base_tokenizer().save(str(slow_files / "tokenizer.json"))
    with pytest.raises(UserError, match=r"added_tokens\.json as \d+: one of them is another"):
        load_tokenizer(slow_files)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("merges.txt", b"#version: 0.2\nT h\nThey\n", r"merges\.txt, line 3: 'They' is not two"),
        ("merges.txt", b"T h\nq\xff z\n", r"merges\.txt: not UTF-8"),
        ("merges.txt", b"T h\nTh eyyy\n", r"merges\.txt: does not fit vocab\.json"),
        ("vocab.json", b"[1, 2]", r"vocab\.json: not a JSON object of token to id"),
        ("vocab.json", b'{"a": "x"}', r"vocab\.json: not a JSON object of token to id"),
        ("added_tokens.json", b"{", r"added_tokens\.json: not a JSON object of token to id"),
    ],
)
def test_damaged_slow_files(slow_files: Path, name: str, content: bytes, named: str) -> None:
    (slow_files / name).write_bytes(content)
    with pytest.raises(UserError, match=named) as refusal:
        load_tokenizer(slow_files)
    assert "\n" not in str(refusal.value)


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
