"""Exports say which symbols of its texts a model has not learnt."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from export.checks import frontend_check
from export.checks.frontend_check import LackingSymbols, describe_symbols, find_lacking
from export.readers.checkpoint import Checkpoint, open_checkpoint
from formats.checkpoint.language_model_config import TextFrontend
from formats.checkpoint.tokenizer import build_phoneme_tokenizer, load_tokenizer
from runtime.text.frontends import HIBARI_SYMBOLS
from tests.tiny_models import make_lm_checkpoint

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def spelt(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(make_lm_checkpoint(tmp_path_factory.mktemp("model")))


def phonemes(checkpoint: Checkpoint, symbols: str, language: str = "en-us") -> Checkpoint:
    config = dataclasses.replace(checkpoint.config, text_frontend=TextFrontend("hibari", language))
    tokenizer = build_phoneme_tokenizer([symbols], mtp=True)
    return dataclasses.replace(checkpoint, config=config, tokenizer=tokenizer)


@pytest.mark.parametrize("heads", [3, 6, 12])
def test_the_demo_voices_replace_some_signs(heads: int, spelt: Checkpoint) -> None:
    folder = SAMPLES / "demo_voice" / f"{heads}-heads"
    demo = dataclasses.replace(phonemes(spelt, ""), tokenizer=load_tokenizer(folder))
    assert find_lacking(demo) == LackingSymbols(tuple(",;:—…()"[1:]), ())


@pytest.mark.parametrize("language", ["en-us", "en-gb"])
def test_a_model_that_has_learnt_everything(spelt: Checkpoint, language: str) -> None:
    whole = phonemes(spelt, HIBARI_SYMBOLS[language], language)
    assert find_lacking(whole) == LackingSymbols((), ())


def test_symbols_that_cannot_be_read(spelt: Checkpoint) -> None:
    known = HIBARI_SYMBOLS["en-us"].translate(str.maketrans("", "", ",ðy“"))
    assert find_lacking(phonemes(spelt, known)) == LackingSymbols(("“",), ("ð", ","))


def test_spelling(spelt: Checkpoint) -> None:
    assert find_lacking(spelt) == LackingSymbols((), ("(", ")"))


def test_byte_level_tokenizers_lack_nothing(spelt: Checkpoint) -> None:
    from tests.runtime.test_symbols import byte_level

    assert find_lacking(dataclasses.replace(spelt, tokenizer=byte_level())) == LackingSymbols(
        (), ()
    )


def test_the_export_tells(spelt: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    frontend_check.tell_lacking_symbols(
        phonemes(spelt, HIBARI_SYMBOLS["en-us"].replace(";", "").replace("ð", ""))
    )
    replaced, lost = capsys.readouterr().out.splitlines()
    assert replaced == "signs read as commas, stops or nothing: ;"
    assert lost.startswith(f"warning: {spelt.folder}: the tokenizer has no symbol for ð; ")
    assert describe_symbols((" ", ";")) == "(space) ;"
