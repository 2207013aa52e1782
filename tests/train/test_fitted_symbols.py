"""Training reads phonemes as the runtime does, and durations stay with their symbols."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formats.checkpoint.language_model_config import TextFrontend
from formats.checkpoint.prompts import PromptTemplates
from formats.checkpoint.tokenizer import build_phoneme_tokenizer, read_speech_tokens
from formats.tokens import TokenizedUtterance
from tests.tiny_models import tiny_config
from train.data.examples import ExampleBuilder
from train.data.fitted_symbols import fit_utterance

FRAMES = np.zeros((40, 3), int)


def utterance(text: str, frames: tuple[int, ...] | None) -> TokenizedUtterance:
    return TokenizedUtterance("u", text, FRAMES, symbol_frames=frames)


def test_nothing_changes_where_all_symbols_are_held() -> None:
    said = utterance("a; (b) — c", tuple(range(12)))
    assert fit_utterance(said, lambda symbol: True) is said


@pytest.mark.parametrize(
    ("text", "frames", "fitted", "fitted_frames"),
    [
        ("a; b.", (1, 2, 3, 4, 5), "a, b.", (1, 5, 0, 4, 5)),
        ("a; b.", (9, 1, 2, 3, 4, 5, 8), "a, b.", (9, 1, 5, 0, 4, 5, 8)),
        ("(a)", (1, 2, 3), "a.", (3, 3)),
        ("(a)", (9, 1, 2, 3, 8), "a.", (10, 2, 3, 8)),
        ("a xb.", (1, 2, 3, 4, 5), "a b.", (1, 5, 4, 5)),
        ("a: b", None, "a, b", None),
    ],
)
def test_durations_stay_with_their_symbols(
    text: str,
    frames: tuple[int, ...] | None,
    fitted: str,
    fitted_frames: tuple[int, ...] | None,
) -> None:
    found = fit_utterance(utterance(text, frames), lambda symbol: not set(symbol) & set(";:()x"))
    assert (found.text, found.symbol_frames) == (fitted, fitted_frames)


@given(st.text(alphabet="ab;,.(… x", min_size=1, max_size=20), st.booleans(), st.data())
def test_no_frame_is_lost(text: str, silences: bool, data: st.DataObject) -> None:
    size = len(text) + 2 * silences
    frames = tuple(data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size)))
    found = fit_utterance(utterance(text, frames), lambda symbol: symbol not in ";(…x")
    assert found.symbol_frames is not None
    if found.text:
        assert sum(found.symbol_frames) == sum(frames)
        assert len(found.symbol_frames) == len(found.text) + 2 * silences


def test_a_model_learns_the_signs_that_it_has() -> None:
    """The runtime gives the same tokens: a comma, none of them unknown."""
    tokenizer = build_phoneme_tokenizer(["ab ,.ˈa"], mtp=True)
    prompts = PromptTemplates("{text}<sosp>", "{text}<|placeholder|><sosp>", "")
    config = dataclasses.replace(
        tiny_config(3), prompts=prompts, text_frontend=TextFrontend("hibari", "en-us")
    )
    builder = ExampleBuilder(
        config, tokenizer, read_speech_tokens(tokenizer, "test"), with_tail=False, guided=True
    )
    example = builder.tts(utterance("ˈa; b.", (5, 5, 5, 5, 5, 15)))
    text = tokenizer.encode("ˈa, b.", add_special_tokens=False).ids
    assert example.token_ids[1 : 1 + len(text), 0].tolist() == text
    assert example.guide is not None
    assert set(example.guide[example.guide >= 0]) <= set(range(1, 1 + len(text)))
