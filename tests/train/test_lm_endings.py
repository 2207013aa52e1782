"""How runs of `python -m train.lm` end and begin again: signals, few steps, a late average."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from commands.errors import EXIT_TIME_IS_UP
from tests.train.test_lm_training import history, run, write_settings
from train.language_model_training.averaging import WeightAverage
from train.language_model_training.steps import agree
from train.language_model_training.trainer import LmTrainer
from train.lm import main


def test_an_interrupted_run_is_saved_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the step that was running; what was trained so far is no finished model."""
    compute_loss = LmTrainer.compute_loss

    def interrupted(trainer: LmTrainer, *arguments: Any, **options: Any) -> Any:
        if trainer.state.global_step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return compute_loss(trainer, *arguments, **options)

    settings = write_settings(tmp_path, 3, max_steps=3, save_every=1000, evaluate_every=1000)
    output = tmp_path / "my model"
    arguments = ["--config", str(settings), "--output", str(output)]
    with monkeypatch.context() as patch:
        patch.setattr(LmTrainer, "compute_loss", interrupted)
        assert main(arguments) == 130
    assert f"go on with: python -m train.lm --config {settings}" in capsys.readouterr().err
    assert [path.name for path in (output / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    assert not (output / "model.safetensors").exists()
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert f"wrote {output}" in said
    assert f"next: python -m export.build --model '{output}' --codec" in said
    assert (output / "model.safetensors").is_file()
    assert [entry["step"] for entry in history(output, 3) if "loss" in entry] == [1, 2, 3]


def test_time_is_up_as_after_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The schedule stays that of the whole run, so the losses are those of an undisturbed one."""
    settings = write_settings(tmp_path, 3, max_steps=2)
    run(settings, tmp_path / "whole")
    arguments = ["--config", str(settings), "--output", str(tmp_path / "paused")]
    assert main([*arguments, "--max-minutes", "1e-9"]) == EXIT_TIME_IS_UP
    assert "go on with: python -m train.lm --config" in capsys.readouterr().err
    assert not (tmp_path / "paused" / "model.safetensors").exists()
    assert main(arguments) == 0
    losses = [
        [(log["step"], log["loss"]) for log in history(tmp_path / name, 2) if "loss" in log]
        for name in ("whole", "paused")
    ]
    assert losses[0] == losses[1]


VOTE = """
import sys, torch
from train.language_model_training.steps import agree
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
print([agree(wanted, torch.device("cpu")) for wanted in (False, rank == 1, True)])
"""


def test_processes_stop_together(tmp_path: Path) -> None:
    """One that goes on alone would wait for the others without end."""
    command = [sys.executable, "-c", VOTE]
    voters = [
        subprocess.Popen([*command, rank, str(tmp_path / "store")], stdout=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    said = [voter.communicate()[0].decode().strip() for voter in voters]
    assert said == ["[False, True, True]"] * 2
    assert agree(True, torch.device("cpu"))
    assert not agree(False, torch.device("cpu"))


def test_a_run_shorter_than_its_intervals_keeps_its_end(tmp_path: Path) -> None:
    every: dict[str, Any] = dict.fromkeys(("log_every", "evaluate_every", "save_every"), 1000)
    run(write_settings(tmp_path, 3, max_steps=2, **every), tmp_path / "out")
    said = {key for entry in history(tmp_path / "out", 2) for key in entry}
    assert {"loss", "eval_loss"} <= said
    last = load_file(tmp_path / "out/run/checkpoint-2/model.safetensors")
    final = load_file(tmp_path / "out/model.safetensors")
    assert all(torch.equal(tensor, final[name]) for name, tensor in last.items())


def test_an_average_that_is_switched_on_begins_with_the_weights_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with those that the run began with."""
    monkeypatch.setattr(WeightAverage, "update", lambda average, step: None)
    output = tmp_path / "out"
    run(write_settings(tmp_path, 3, max_steps=1), output)
    with caplog.at_level("INFO"):
        run(write_settings(tmp_path, 3, max_steps=2, average_decay=0.9), output, "--resume")
    assert "has no average; it begins with the weights of this checkpoint" in caplog.text
    then = load_file(output / "run/checkpoint-1/model.safetensors")
    averaged = load_file(output / "model.safetensors")
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in then.items())
    now = load_file(output / "run/checkpoint-2/model.safetensors")
    assert not all(torch.equal(tensor, averaged[name]) for name, tensor in now.items())
