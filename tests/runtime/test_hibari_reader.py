"""hibari's tables stay text: every entry is found, and the package around them stays away."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import Any

import pytest

from commands.errors import UserError
from runtime.text.frontends import make_reader
from runtime.text.hibari_reader import (
    Entries,
    Keys,
    SortedWords,
    find_hibari,
    load_g2p,
    read_tagger,
)

WORDS: dict[str, Any] = {
    ",": "comma",
    "a b": "ˈA bˈi",
    "ab": {"DEFAULT": "x", "NN": 'y",'},
    "abc": "z",
    "é": None,
}
ODD = ("", '"', "\\", "a", "abcd", "zz", "\ud800", "a\nb")


def written(table: dict[str, Any]) -> bytes:
    return json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()


def stored(name: str) -> bytes:
    folder = find_hibari()
    if folder is None:
        pytest.skip("hibari-tts is not installed")
    return gzip.decompress((folder / "assets" / name).read_bytes())


@pytest.mark.parametrize("accent", ["us", "gb"])
@pytest.mark.parametrize("kind", ["gold", "silver"])
def test_every_word_of_a_lexicon_is_found(accent: str, kind: str) -> None:
    text = stored(f"lexicon_{accent}_{kind}.json.gz")
    words, whole = SortedWords(text), json.loads(text)
    assert [*words] == [*whole]
    assert {word: words[word] for word in whole} == whole
    assert not [word for word in ODD if word in words and word not in whole]


def test_every_entry_of_the_tagger_is_found() -> None:
    whole = json.loads(stored("tagger.json.gz"))
    tagger = load_g2p().G2P().tagger
    assert tagger.tags == whole["tags"]
    for name in ("tagdict", "weights"):
        table = getattr(tagger, name)
        assert isinstance(table, Entries)
        assert dict(table) == whole[name]
        assert not [key for key in ODD if key in table and key not in whole[name]]
    assert isinstance(tagger.vocab, Keys)
    assert sorted(tagger.vocab) == sorted(whole["vocab"])
    assert all(word in tagger.vocab for word in whole["vocab"])
    assert not [word for word in ODD if word in tagger.vocab and word not in whole["vocab"]]


def test_values_may_be_objects() -> None:
    words = SortedWords(written({key: WORDS[key] for key in sorted(WORDS) if key != ","}))
    assert words["ab"] == WORDS["ab"]
    assert words["abc"] == "z"
    assert words["é"] is None
    assert "abcd" not in words


def test_lexicons_in_another_form_are_refused() -> None:
    for text in (b'{"b":"x","a":"y"}', b'{"a": "x", "b": "y"}', b'{ "a":"x"}', b"[]"):
        with pytest.raises(UserError, match=r"install hibari-tts 0\.2\.1"):
            SortedWords(text)


TAGGER: dict[str, Any] = {
    "tags": ["CC", "NN"],
    "tagdict": {"b": "NN", ",": ",", '"': "''", '","': "``", "\\": "NN", "é": "NN"},
    "vocab": ["b", ",", '"', '","', "\\", "a\nb", "é"],
    "weights": {"w=b": {"NN": 1.5, "VB": -2.0}, "b": {"NN": 1.0}, "s3=,": {"CC": 0.5}},
}


def test_tables_may_be_in_any_order() -> None:
    tables = read_tagger(written(TAGGER))
    assert tables["tags"] == TAGGER["tags"]
    assert dict(tables["tagdict"]) == TAGGER["tagdict"]
    assert sorted(tables["vocab"]) == sorted(TAGGER["vocab"])
    assert dict(tables["weights"]) == TAGGER["weights"]
    assert len(tables["weights"]) == 3
    assert tables["weights"].get("w=c") is None
    assert "a" not in tables["vocab"]


@pytest.mark.parametrize("missing", ["tagdict", "vocab", "weights"])
def test_a_tagger_in_another_form_is_refused(missing: str) -> None:
    tables = {name: table for name, table in TAGGER.items() if name != missing}
    for text in (written(tables), written(dict(reversed(TAGGER.items())))):
        with pytest.raises(UserError, match=r"install hibari-tts 0\.2\.1"):
            read_tagger(text)


def test_reading_needs_no_onnxruntime_while_words_are_known() -> None:
    stored("tagger.json.gz")
    code = """
import sys
sys.modules["onnxruntime"] = None
from commands.errors import UserError
from runtime.text.frontends import make_reader
read = make_reader({"kind": "hibari", "language": "en-us"})
print(read("Hello there.").text)
print({"hibari", "scipy", "urllib.request"} & sys.modules.keys())
try:
    read("Zorblax.")
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    phonemes, loaded, refused = done.stdout.splitlines()
    assert (phonemes, loaded) == ("həlˈO ðˈɛɹ.", "set()")
    assert "'Zorblax.' holds a word that is not in hibari's lexicons" in refused
    assert "the package onnxruntime" in refused


def test_the_reader_is_loaded_when_a_text_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stored("tagger.json.gz")

    def refuse() -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("runtime.text.frontends.load_g2p", refuse)
    make_reader({"kind": "hibari", "language": "en-gb"})
