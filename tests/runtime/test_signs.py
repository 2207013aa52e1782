"""Signs of phoneme strings: a stop at the end, single signs between, none that is unknown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from runtime.text.signs import STOPS, close_phonemes, fit_phonemes, join_parts, soften_stops
from runtime.text.symbols import HeldSymbols

DEMO = Path(__file__).parents[2] / "samples" / "demo_voice"
PHONEMES = st.text(alphabet='abˈˌə ,.!?;:—…()“”"', max_size=40)


def fit(phonemes: str, holds: Callable[[str], bool]) -> str:
    return join_parts(fit_phonemes(phonemes, holds))


@pytest.fixture(params=["3-heads", "6-heads", "12-heads"])
def demo(request: pytest.FixtureRequest) -> HeldSymbols:
    """The symbols of a demo voice, which has no ; : — … ( )."""
    return HeldSymbols(Tokenizer.from_file(str(DEMO / request.param / "tokenizer.json")))


@pytest.mark.parametrize(
    ("phonemes", "closed"),
    [
        ("bənˈænə", "bənˈænə."),
        ("həlˈO.", "həlˈO."),
        ("ɹˈiᵊli?!", "ɹˈiᵊli?!"),
        ("nˈO!!!", "nˈO!"),
        ("hˌi sˈɛd:", "hˌi sˈɛd."),
        ("ˈIs,", "ˈIs."),
        ("wˈAt…", "wˈAt."),
        ("wˈAt...", "wˈAt."),
        ("wʌt…?", "wʌt?"),
        ("hmm …", "hmm."),
        ("wˈɛl... ˌI ɡˌO", "wˈɛl… ˌI ɡˌO."),
        ("(həlˈO.)", "(həlˈO)."),
        ("sˈɛd “ɡˌO.”", "sˈɛd “ɡˌO”."),
        ("sˈɛd “ɡˌO”", "sˈɛd “ɡˌO”."),
        ("wʌt (", "wʌt."),
        ("— ænd  ðɛn", "ænd ðɛn."),
        (", ænd", "ænd."),
        ("həlˈO , nˈIs", "həlˈO, nˈIs."),
        ("", ""),
        (" … ", ""),
    ],
)
def test_a_stop_ends_every_string(phonemes: str, closed: str) -> None:
    assert close_phonemes(phonemes) == closed


@pytest.mark.parametrize(
    ("phonemes", "read"),
    [
        ("bɹˈʌðəɹ (ði ˈOldəɹ wˈʌn) lˈɪvz.", "bɹˈʌðəɹ, ði ˈOldəɹ wˈʌn, lˈɪvz."),
        ("wˈʌn; tˈu: θɹˈi — fˈɔɹ.", "wˈʌn, tˈu, θɹˈi, fˈɔɹ."),
        ("(ɹˈiᵊli).", "ɹˈiᵊli."),
        ("ɡˌO (nˈW), ænd", "ɡˌO, nˈW, ænd"),
        ("ɡˌO (nˈW). ænd stˈA.", "ɡˌO, nˈW. ænd stˈA."),
        ("wˈAt… wʌt?", "wˈAt, wʌt?"),
        ("fˌI…ˌɛndˈi.", "fˌI, ˌɛndˈi."),
        ("sˈɛd “ɡˌO”.", "sˈɛd “ɡˌO”."),
        ("fˈIn”; ɡˌO.", "fˈIn”, ɡˌO."),
        ("stˈɑp! hi sˈɛd.", "stˈɑp! hi sˈɛd."),
    ],
)
def test_signs_that_a_tokenizer_lacks(demo: HeldSymbols, phonemes: str, read: str) -> None:
    assert fit(phonemes, demo.holds) == read
    assert not demo.find_missing(read)


def test_signs_that_a_tokenizer_holds_stay() -> None:
    phonemes = "“wˈʌn”; tˈu: (θɹˈi) — fˈɔɹ… fˈIv?"
    assert fit(phonemes, lambda symbol: True) == phonemes


def test_each_tokenizer_has_its_own_reading() -> None:
    phonemes = "wˈʌn; tˈu: θɹˈi."
    assert fit(phonemes, lambda symbol: symbol != ":") == "wˈʌn; tˈu, θɹˈi."
    assert fit(phonemes, lambda symbol: symbol not in ",;:") == "wˈʌn tˈu θɹˈi."
    assert fit(phonemes, lambda symbol: symbol != ".") == "wˈʌn; tˈu: θɹˈi!"


@pytest.mark.parametrize(
    ("phonemes", "held", "read", "lost"),
    [
        ("ˌᵊn.", "ˈᵊ n.", "ˈᵊn.", []),  # the same phoneme in a stress that was learnt
        ("ˈᵊn.", "ᵊn.", "ᵊn.", []),
        ("kˈaf.", "kˈæf.", "kˈæf.", []),
        ("lˈɒx.", "lɑ .", "l.", ["ˈɒ", "x"]),
    ],
)
def test_phonemes_that_a_tokenizer_lacks(
    phonemes: str, held: str, read: str, lost: list[str]
) -> None:
    symbols = {"".join(part) for part in _symbols(held)}
    parts = fit_phonemes(phonemes, symbols.__contains__)
    assert join_parts(parts) == read
    assert [part.source for part in parts if part.is_lost] == lost


def _symbols(text: str) -> list[str]:
    """Phonemes with the stress before them."""
    symbols: list[str] = []
    for character in text:
        if symbols and symbols[-1] in "ˈˌ":
            symbols[-1] += character
        else:
            symbols.append(character)
    return symbols


def test_the_last_stop_is_the_only_one() -> None:
    assert soften_stops("tˈɛn. nˈIn. ˈAt.") == "tˈɛn, nˈIn, ˈAt."
    assert soften_stops("ɛtsˈɛTəɹə., ænd stˈɑp! ɡˌO?") == "ɛtsˈɛTəɹə, ænd stˈɑp! ɡˌO?"


@given(PHONEMES, st.sets(st.sampled_from(',.!?;:—…()“”"')))
def test_any_string_is_closed_and_fits(phonemes: str, lacking: set[str]) -> None:
    closed = close_phonemes(phonemes)
    assert close_phonemes(closed) == closed
    assert closed == "" or closed[-1] in STOPS
    assert closed[:1] not in (" ", *STOPS, *",;:—…)”")
    parts = fit_phonemes(closed, lambda symbol: symbol not in lacking)
    assert "".join(part.source for part in parts) == closed
    assert not any(part.is_lost for part in parts)
    read = join_parts(parts)
    assert not set(read) & lacking
    assert [c for c in read if c in "abə"] == [c for c in closed if c in "abə"]
    if closed and "." not in lacking:
        assert read[-1] in STOPS
