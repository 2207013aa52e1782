"""Checkpoints of a run on a curve, with judges that cost nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from torch.utils.tensorboard import SummaryWriter

from commands.run import EXIT_USER_ERROR
from evaluation.learning_curve import continue_clock, find_checkpoints, main, minutes_at, read_clock
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_judges import use_tiny_judges
from tests.tiny_models import make_lm_checkpoint
from train.language_model_training.averaging import AVERAGE_FILE, write_averaged_checkpoint

NORM = "lm_model.model.norm.weight"


def write_checkpoint(run: Path, step: int) -> Path:
    folder = make_lm_checkpoint(run / "run" / f"checkpoint-{step}", heads=3, streams=TINY_STREAMS)
    (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two checkpoints, the later of which has an average, after 1 and 2.5 minutes."""
    with SummaryWriter(str(tmp_path / "lm" / "run" / "runs" / "today")) as log:
        begin = time.time()
        for step in (4, 8, 12):
            log.add_scalar("train/loss", 3.0, step, walltime=begin + 15 * step)
    write_checkpoint(tmp_path / "lm", 4)
    last = write_checkpoint(tmp_path / "lm", 10)
    weights = load_file(last / "model.safetensors")
    save_file({NORM: weights[NORM] + 1}, last / AVERAGE_FILE)
    return tmp_path / "lm"


def test_checkpoints_and_minutes(run: Path) -> None:
    checkpoints = find_checkpoints(run)
    assert [path.name for path in checkpoints] == ["checkpoint-4", "checkpoint-10"]
    clock = read_clock(run)
    assert [minutes_at(clock, step) for step in (4, 10)] == [
        pytest.approx(1.0, abs=0.02),
        pytest.approx(2.5, abs=0.02),
    ]


def test_the_clock_stands_still_between_the_parts_of_a_run() -> None:
    first = continue_clock([(0, 0.0)], 1000.0, [(50, 1060.0), (100, 1120.0), (150, 1180.0)])
    assert first == [(0, 0.0), (50, 1.0), (100, 2.0), (150, 3.0)]
    again = continue_clock(first, 9000.0, [(150, 9030.0), (200, 9090.0)])  # from checkpoint-100
    assert again == [(0, 0.0), (50, 1.0), (100, 2.0), (150, 2.5), (200, 3.5)]
    assert continue_clock(again, 9999.0, []) == again  # ended before anything was logged


def test_the_average_takes_the_place_of_the_last_weights(run: Path, tmp_path: Path) -> None:
    last = run / "run" / "checkpoint-10"
    write_averaged_checkpoint(last, tmp_path / "model")
    before = load_file(last / "model.safetensors")
    after = load_file(tmp_path / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    np.testing.assert_array_equal(after[NORM], before[NORM] + 1)
    others = before.keys() - {NORM}
    assert all(np.array_equal(before[name], after[name]) for name in others)


def test_every_checkpoint_is_a_point(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_tiny_judges(monkeypatch, "whisper")
    codec = make_codec_checkpoint(tmp_path / "codec")
    speaker = np.random.default_rng(0).standard_normal(256, dtype=np.float32)
    save_file({"speaker": speaker}, tmp_path / "anna.safetensors")
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("They know it.\nWe read.\n", encoding="utf-8")
    arguments = ["--run", f"h3={run}", "--codec", codec, "--sentences", sentences]
    arguments += ["--voice", f"anna={tmp_path / 'anna.safetensors'}", "--output", tmp_path / "out"]
    assert main([*map(str, arguments)]) == 0
    curve = json.loads((tmp_path / "out" / "curve.json").read_text(encoding="utf-8"))
    assert [point["step"] for point in curve["points"]] == [4, 10]
    assert [round(point["minutes"], 1) for point in curve["points"]] == [1.0, 2.5]
    assert curve["points"][0]["word_error_rate"] == pytest.approx(3 / 5)
    assert curve["judges"]["whisper"] == "parrot 1"
    assert (tmp_path / "out" / "curve.png").is_file()
    table = capsys.readouterr().out
    assert "| h3 | 4 | 1.0 | 60.0 %" in table
    assert table == (tmp_path / "out" / "curve.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["no checkpoints", "no logs"])
def test_mistakes_are_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    told = "no training checkpoints"
    if kind == "no logs":
        write_checkpoint(folder, 4)
        told = "no TensorBoard logs"
    arguments = ["--run", folder, "--codec", tmp_path, "--voice", "anna=anna.wav"]
    assert main([*map(str, arguments)]) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert told in error
