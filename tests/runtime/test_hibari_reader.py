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
from runtime.text.hibari_reader import Features, SortedWords, find_hibari, load_g2p

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


def test_every_feature_of_the_tagger_is_found() -> None:
    whole = json.loads(stored("tagger.json.gz"))["weights"]
    features = load_g2p().G2P().tagger.weights
    assert isinstance(features, Features)
    assert dict(features) == whole
    assert not [feature for feature in ODD if feature in features]


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


def test_features_may_be_in_any_order() -> None:
    table = {"w=b": {"NN": 1.5, "VB": -2.0}, "b": {"NN": 1.0}, "s3=,": {"CC": 0.5}}
    features = Features(written({"tags": [], "weights": table}), len(b'{"tags":[],"weights":'))
    assert dict(features) == table
    assert len(features) == 3
    assert features.get("w=c") is None


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
