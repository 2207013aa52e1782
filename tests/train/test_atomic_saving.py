"""What training saves over an older file is complete, or the older file stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from formats.tokens import TokenizedUtterance, read_utterances, write_utterances
from train.codec_model import checkpoint as codec_checkpoint
from train.codec_model.checkpoint import load_training_state, save_training_state
from train.language_model import checkpoint
from train.language_model.checkpoint import write_tensors
from train.language_model_training import averaging
from train.language_model_training.averaging import AVERAGE_FILE, WeightAverage


def save_tensors(path: Path, value: float) -> None:
    write_tensors({"weight": torch.full((2,), value)}, path, torch.float16)


def save_state(path: Path, value: float) -> None:
    save_training_state({"step": value}, path)


def save_utterances(path: Path, value: float) -> None:
    def utterances() -> Iterator[TokenizedUtterance]:
        yield TokenizedUtterance("u", "Hi.", np.full((2, 3), int(value)))
        if value > 1:
            raise KeyboardInterrupt

    write_utterances(path, utterances(), 3)


SAVERS = [save_tensors, save_state, save_utterances]


def interrupted(save: Callable[..., None]) -> Callable[..., None]:
    def save_half(tensors: object, path: Path, *rest: object, **options: object) -> None:
        save(tensors, path, *rest, **options)
        path.write_bytes(path.read_bytes()[:10])
        raise KeyboardInterrupt

    return save_half


@pytest.mark.parametrize("save", SAVERS)
def test_an_interrupted_save_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path, float], None]
) -> None:
    path = tmp_path / "saved"
    save(path, 1)
    before = path.read_bytes()
    monkeypatch.setattr(checkpoint, "save_file", interrupted(checkpoint.save_file))
    monkeypatch.setattr(codec_checkpoint.torch, "save", interrupted(torch.save))
    with pytest.raises(KeyboardInterrupt):
        save(path, 2)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["saved"]


def test_an_interrupted_average_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    average = WeightAverage(nn.Linear(2, 3), 0.9)
    average.save(tmp_path)
    before = (tmp_path / AVERAGE_FILE).read_bytes()
    monkeypatch.setattr(averaging, "save_file", interrupted(averaging.save_file))
    with pytest.raises(KeyboardInterrupt):
        average.save(tmp_path)
    assert (tmp_path / AVERAGE_FILE).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [AVERAGE_FILE]


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    save_state(tmp_path / "a.pt", 1.5)
    assert load_training_state(tmp_path / "a.pt") == {"step": 1.5}
    save_utterances(tmp_path / "a.jsonl", 1)
    assert [u.uttid for u in read_utterances(tmp_path / "a.jsonl", 3)] == ["u"]


def test_an_averaged_checkpoint_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.language_model_training import averaging

    checkpoint, target = tmp_path / "checkpoint-1", tmp_path / "model"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    averaging.save_file({"weight": torch.zeros(2)}, checkpoint / averaging.WEIGHTS_FILE)

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(averaging, "save_file", fail)
        with pytest.raises(RuntimeError):
            averaging.write_averaged_checkpoint(checkpoint, target)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    averaging.write_averaged_checkpoint(checkpoint, target)
    assert {path.name for path in target.iterdir()} == {"config.json", averaging.WEIGHTS_FILE}
