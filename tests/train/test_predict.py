"""Predicted tokens: batches against one plain prefix at a time, and what is never predicted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from commands.errors import EXIT_TIME_IS_UP
from formats.streams import FACODEC
from formats.tokens import TokenizedUtterance, read_utterances, write_utterances
from tests.tiny_models import make_lm_checkpoint
from train import predict
from train.language_model.checkpoint import load_checkpoint
from train.language_model.mtp import MtpModel
from train.language_model_training.dataset import ExampleBuilder, utterance_speaker

LENGTHS = (11, 4, 23, 1, 7)  # frames; most fill no whole number of steps
TEXTS = ("They know it.", "No.", "We read the letter twice.", "I", "Is it late?")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are compared one by one, so nothing is rounded to bfloat16."""
    monkeypatch.setattr("train.device.choose_bfloat16", lambda precision, device: False)


@pytest.fixture
def utterances(tmp_path: Path) -> list[TokenizedUtterance]:
    random = np.random.default_rng(0)
    (tmp_path / "speakers").mkdir()
    made = []
    for index, (length, text) in enumerate(zip(LENGTHS, TEXTS, strict=True)):
        path = f"speakers/u{index}.safetensors"
        save_file({"speaker": random.standard_normal(256, dtype=np.float32)}, tmp_path / path)
        frames = random.integers(0, FACODEC.sizes, (length, FACODEC.count))
        counts = (length, *(0 for _ in text[1:]))
        made.append(TokenizedUtterance(f"u{index}", text, frames, path, counts))
    return made


def run(model: Path, tokens: Path, output: Path, *options: str) -> int:
    paths = ["--model", str(model), "--tokens", str(tokens), "--output", str(output)]
    return predict.main([*paths, *options])


def predict_plainly(
    folder: Path, utterance: TokenizedUtterance, speaker_folder: Path
) -> np.ndarray:
    """Each step from a fresh pass over what comes before it: frames int64 [T, 3]."""
    checkpoint = load_checkpoint(folder)
    model, config = checkpoint.model, checkpoint.config
    assert isinstance(model, MtpModel)
    builder = ExampleBuilder(config, checkpoint.tokenizer, model.tokens)
    example = builder.tts(utterance, utterance_speaker(utterance, config, speaker_folder))
    ids = torch.from_numpy(example.token_ids).long()[None]
    mask = torch.from_numpy(example.speech_mask)[None]
    speaker = None if example.speaker is None else torch.from_numpy(example.speaker)[None]
    codes = []
    for position in np.flatnonzero(example.speech_mask)[:-1]:  # the last one says the end
        with torch.no_grad():
            embedded = model.embed(ids[:, :position], mask[:, :position], speaker)
            scores = model.head_scores(model.hidden_states(embedded))
        codes.append([int(head[0, -1, : FACODEC.largest].argmax()) for head in scores])
    return np.array(codes).reshape(-1, 3)[: len(utterance.frames)]


@pytest.mark.parametrize(
    ("shape", "positions"),
    [
        ({"heads": 3}, 10_000),  # one batch
        ({"heads": 6, "head_kind": "transformer", "speaker_aware": True}, 120),  # a few
    ],
    ids=["linear", "transformer"],
)
def test_batches_predict_what_plain_steps_do(
    tmp_path: Path,
    utterances: list[TokenizedUtterance],
    monkeypatch: pytest.MonkeyPatch,
    shape: dict[str, Any],
    positions: int,
) -> None:
    heads, tokens, output = shape["heads"], tmp_path / "tokens.jsonl", tmp_path / "new" / "p.jsonl"
    model = make_lm_checkpoint(tmp_path / "model", **shape)
    write_utterances(tokens, utterances, heads)
    monkeypatch.setattr(predict, "POSITIONS_PER_BATCH", positions)
    assert run(model, tokens, output) == 0
    predicted = {utterance.uttid: utterance for utterance in read_utterances(output, heads)}
    assert len(predicted) == len(utterances)
    for given in utterances:
        found = predicted[given.uttid]
        np.testing.assert_array_equal(found.frames, predict_plainly(model, given, tmp_path))
        assert not np.array_equal(found.frames, given.frames)
        assert (found.text, found.spk_emb_path, found.symbol_frames) == (
            *(given.text, given.spk_emb_path, given.symbol_frames),
        )


def test_neither_the_end_nor_padding_is_predicted(
    tmp_path: Path, utterances: list[TokenizedUtterance]
) -> None:
    """However likely they are, the likeliest codes stay the same."""
    tokens = tmp_path / "tokens.jsonl"
    write_utterances(tokens, utterances, heads=6)
    written = []
    for name, bias in (("plain", 0.0), ("ending", 100.0)):
        model = make_lm_checkpoint(tmp_path / name, heads=6, end_bias=bias, pad_bias=2 * bias)
        assert run(model, tokens, tmp_path / f"{name}.jsonl") == 0
        written.append((tmp_path / f"{name}.jsonl").read_text())
    assert written[0] == written[1]


def test_the_first_utterances_of_a_file(
    tmp_path: Path, utterances: list[TokenizedUtterance], capsys: pytest.CaptureFixture[str]
) -> None:
    tokens, output = tmp_path / "tokens.jsonl", tmp_path / "predicted.jsonl"
    write_utterances(tokens, utterances, heads=3)
    model = make_lm_checkpoint(tmp_path / "model")
    assert run(model, tokens, output, "--limit", "3") == 0
    assert [u.uttid for u in read_utterances(output, 3)] == ["u1", "u0", "u2"]  # short ones first
    with pytest.raises(SystemExit, match="2"):
        run(model, tokens, output, "--limit", "0")
    assert "--limit: must be a whole number from 1" in capsys.readouterr().err
    tokens.write_text("")
    assert run(model, tokens, output) == 2
    assert "tokens.jsonl: no utterance to predict" in capsys.readouterr().err


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_an_interrupted_run_goes_on(
    tmp_path: Path,
    utterances: list[TokenizedUtterance],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stopped_after: int,
) -> None:
    tokens, output = tmp_path / "tokens.jsonl", tmp_path / "predicted.jsonl"
    write_utterances(tokens, utterances, heads=3)
    model = make_lm_checkpoint(tmp_path / "model")
    monkeypatch.setattr(predict, "POSITIONS_PER_BATCH", 100)  # two utterances or so
    assert run(model, tokens, tmp_path / "whole.jsonl") == 0
    predict_utterances, predicted = predict.predict_utterances, []

    def interrupted(*arguments: Any) -> Iterator[TokenizedUtterance]:
        for utterance in predict_utterances(*arguments):
            predicted.append(utterance.uttid)
            if len(predicted) == stopped_after:
                os.kill(os.getpid(), signal.SIGINT)
            yield utterance

    monkeypatch.setattr(predict, "predict_utterances", interrupted)
    assert run(model, tokens, output) == 130
    assert ".predicted.jsonl.unfinished keeps what is predicted" in capsys.readouterr().err
    assert not output.exists()
    with (tmp_path / ".predicted.jsonl.unfinished" / "predicted.jsonl").open("a") as lines:
        lines.write('{"uttid": "cut')  # as a second signal leaves it
    assert run(model, tokens, output, "--limit", "2") == 2
    assert "was begun with another limit;" in capsys.readouterr().err
    assert run(model, tokens, output) == 0
    assert sorted(predicted) == [f"u{index}" for index in range(5)]
    assert output.read_text() == (tmp_path / "whole.jsonl").read_text()
    assert not (tmp_path / ".predicted.jsonl.unfinished").exists()


def test_next_token_prediction_is_refused(
    tmp_path: Path, utterances: list[TokenizedUtterance], capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tmp_path / "tokens.jsonl"
    write_utterances(tokens, utterances, heads=1)
    assert run(make_lm_checkpoint(tmp_path / "model", heads=1), tokens, tmp_path / "out") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].endswith("model: predicts one token at a time; name a model of several heads")
    assert not (tmp_path / "out").exists()


def test_what_was_cut_off_is_not_left_for_whole(
    tmp_path: Path, utterances: list[TokenizedUtterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, output = tmp_path / "tokens.jsonl", tmp_path / "predicted.jsonl"
    write_utterances(tokens, utterances, heads=3)

    def stop_after_two(*arguments: Any) -> Iterator[TokenizedUtterance]:
        yield from utterances[:2]
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_utterances", stop_after_two)
    assert run(make_lm_checkpoint(tmp_path / "model"), tokens, output) == 130
    assert not output.exists()


def test_time_is_up_as_after_ctrl_c(
    tmp_path: Path, utterances: list[TokenizedUtterance], capsys: pytest.CaptureFixture[str]
) -> None:
    tokens, output = tmp_path / "tokens.jsonl", tmp_path / "predicted.jsonl"
    write_utterances(tokens, utterances, heads=3)
    model = make_lm_checkpoint(tmp_path / "model")
    for _ in range(len(utterances) - 1):
        assert run(model, tokens, output, "--max-minutes", "1e-9") == EXIT_TIME_IS_UP
        assert "go on with: python -m train.predict --model" in capsys.readouterr().err
        assert not output.exists()
    assert run(model, tokens, output) == 0
    assert len(list(read_utterances(output, 3))) == len(utterances)
