"""Frontends: what the model reads of a sentence, and what it cannot."""

from __future__ import annotations

import sys

import pytest

from commands.errors import UserError
from runtime.text.frontends import HIBARI_SYMBOLS, Reading, list_words, make_frontend, make_reader

HIBARI = {"kind": "hibari", "language": "en-us"}


def test_no_frontend_passes_text_on() -> None:
    assert make_frontend({"kind": "none"})("Ä {text}\n") == "Ä {text}\n"
    assert make_reader({"kind": "none"})("你好;") == Reading("你好;")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({}, "unknown text frontend None"),
        ({"kind": "espeak"}, "unknown text frontend 'espeak'"),
        ({"kind": "hibari", "language": "de"}, "unknown language 'de'; hibari has: en-us, en-gb"),
    ],
)
def test_unknown_frontends_are_refused(spec: dict[str, str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        make_frontend(spec)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(UserError, match=r"hibari-tts; install it: .*\[phonemes\]"):
        make_frontend({"kind": "hibari"})


def test_hibari_writes_phonemes() -> None:
    pytest.importorskip("hibari")
    read = make_frontend(HIBARI)
    assert read("Hello there.") == "həlˈO ðˈɛɹ."
    assert make_frontend({"kind": "hibari", "language": "en-gb"})("Hello there.") == "həlˈQ ðˈɛː."
    assert read("🙏") == ""
    with pytest.raises(UserError, match="cannot read '你好'"):
        read("你好")
    assert read("1" * 2_000).startswith("wˈʌn wˈʌn wˈʌn")  # digit by digit


@pytest.mark.parametrize(
    ("text", "phonemes"),
    [
        ("banana", "bənˈænə."),
        ("She has a Ph.D.", "ʃˌi hæz ɐ pˌiˌAʧdˈi."),
        ("See you at 5 a.m.", "sˈi ju æt fˈIv ˌAˈɛm."),
        ("Is it in the U.S.?", "ˌɪz ɪt ɪn ðə jˌuˈɛs?"),
        ("Thanks 🙏.", "θˈæŋks."),
        ("He said:", "hˌi sˈɛd."),
        ("ice cream,", "ˈIs kɹˈim."),
        ("Wait...", "wˈAt."),
        ('He said "go."', "hˌi sˈɛd ɡˈO."),
        ("He said 'go.'", "hˌi sˈɛd “ɡˌO”."),
        ("[x] and {y}", "(ˈɛks) ænd (wˈI)."),
        ("five - six", "fˈIv — sˈɪks."),
        ("wait--no", "wˈAt — nˈO."),
        ("Hello。How are you？", "həlˈO. hˌW ɑɹ ju?"),
        ("- item", "ˈITəm."),
    ],
)
def test_every_sentence_ends_in_a_stop(text: str, phonemes: str) -> None:
    pytest.importorskip("hibari")
    assert make_reader(HIBARI)(text) == Reading(phonemes)


@pytest.mark.parametrize(
    ("text", "phonemes", "skipped"),
    [
        ("Hello 世界", "həlˈO.", ("世界",)),
        ("X世Y", "ˈɛks wˈI.", ("世",)),
        ("Привет (мир)", "", ("Привет", "мир")),
        ("π is 3", "pˈI ɪz θɹˈi.", ()),
    ],
)
def test_words_of_other_scripts_are_named(
    text: str, phonemes: str, skipped: tuple[str, ...]
) -> None:
    pytest.importorskip("hibari")
    assert make_reader(HIBARI)(text) == Reading(phonemes, skipped)


@pytest.mark.parametrize("language", ["en-us", "en-gb"])
def test_the_symbols_are_all_that_hibari_writes(language: str) -> None:
    """Its lexicons and its net for unknown words are all that phonemes come from."""
    g2p = pytest.importorskip("hibari.g2p")
    accent, net = {"en-us": ("us", "oov.json"), "en-gb": ("gb", "oov_gb.json")}[language]
    written = set(g2p._load_json(net)["out"])
    for rank in ("gold", "silver"):
        for entry in g2p._load_json(f"lexicon_{accent}_{rank}.json.gz").values():
            readings = entry.values() if isinstance(entry, dict) else [entry]
            written.update(*(reading for reading in readings if reading))
    written = {"t" if c == "ʔ" else "T" if c == "ɾ" else c for c in written}
    alphabet = set(g2p._load_json("vocab.json"))
    phonemes = (written & alphabet) - set("ˈˌ()")
    assert phonemes <= set(HIBARI_SYMBOLS[language])
    assert set(HIBARI_SYMBOLS[language]) <= alphabet


def test_words_in_a_message() -> None:
    assert list_words(("a", "b", "a")) == "'a', 'b'"
    assert list_words(tuple("abcdefg")) == "'a', 'b', 'c', 'd', 'e' and 2 more"
    assert list_words(("世" * 99,)) == repr("世" * 30)
