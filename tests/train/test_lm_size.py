"""What is said about a model's size before it is made."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from formats.checkpoint.tokenizer import build_phoneme_tokenizer, read_speech_tokens
from train.language_model.checkpoint import make_model
from train.language_model_training import size as lm_size
from train.language_model_training.settings import (
    DataSettings,
    LmSettings,
    ModelSettings,
    scratch_config,
)
from train.language_model_training.size import count_parameters, report_size

DATA = DataSettings(train=())
SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "layers": 2}
TINY = ModelSettings(heads=6, attention_heads=2, key_value_heads=1, speaker_aware=True, **SMALL)


def report(model: ModelSettings, caplog: pytest.LogCaptureFixture, **settings: Any) -> str:
    tokenizer = build_phoneme_tokenizer(["abc ."], mtp=True)
    tokens = read_speech_tokens(tokenizer, "here")
    config = scratch_config(model, tokenizer.get_vocab_size(), "model")
    with caplog.at_level(logging.INFO):
        report_size(LmSettings(model=model, data=DATA, max_steps=1, **settings), config, tokens)
    return caplog.text


@pytest.mark.parametrize("model", [TINY, ModelSettings(heads=1, attention_heads=4, **SMALL)])
def test_parameters_are_those_of_the_model(model: ModelSettings) -> None:
    tokenizer = build_phoneme_tokenizer(["abc ."], mtp=model.heads > 1)
    tokens = read_speech_tokens(tokenizer, "here")
    config = scratch_config(model, tokenizer.get_vocab_size(), "model")
    made = sum(parameter.numel() for parameter in make_model(config, tokens).parameters())
    assert count_parameters(config, tokens) == made


def test_the_default_size_is_said_before_it_is_made(caplog: pytest.LogCaptureFixture) -> None:
    told = report(ModelSettings(heads=3), caplog)
    assert "model: 363." in told
    assert "M parameters, the size of Qwen2.5-0.5B, because the settings give no other" in told
    assert "memory: about 5.8 GB for training them" in told


def test_a_chosen_size_needs_no_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_size, "free_memory", lambda: 10**9)
    told = report(TINY, caplog, positions_per_batch=77)
    assert "Qwen2.5" not in told
    assert "(1.0 GB are free), and what a batch of 77 positions takes" in told
    assert "warning" not in told


def test_too_little_memory_is_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_size, "free_memory", lambda: 10**9)
    assert "warning: this is more than is free" in report(ModelSettings(heads=3), caplog)
    monkeypatch.setattr(lm_size, "free_memory", lambda: None)
    caplog.clear()
    assert "free" not in report(ModelSettings(heads=3), caplog, average_decay=0.9)
    assert "about 7.3 GB" in caplog.text
