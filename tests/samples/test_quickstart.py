"""The recordings that the README's small training begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from samples.quickstart.recordings import SENTENCES, main
from train.codec_training.config import read_training_config
from train.language_model_training.settings import read_settings

CONFIGS = Path(__file__).parents[2] / "samples" / "quickstart"


def test_small_trainings_take_one_thread() -> None:
    """Two that share busy cores wait for each other: 52 s instead of 0.3 s a step were measured."""
    assert read_training_config(CONFIGS / "codec.yaml").threads == 1
    assert read_settings(CONFIGS / "lm.yaml").threads == 1


def test_every_sentence_is_a_sound_and_its_text(tiny_engine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "recordings"
    assert main([str(folder), "--engine", str(tiny_engine)]) == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{n:02d}.{kind}" for n in range(1, 11) for kind in ("txt", "wav")]
    assert (folder / "03.txt").read_text() == SENTENCES[2] + "\n"
    assert soundfile.info(folder / "03.wav").samplerate == 16_000


def test_recordings_of_somebody_are_not_mixed_with_these(
    tiny_engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.wav").touch()
    assert main([str(tmp_path), "--engine", str(tiny_engine)]) == 2
    assert "already holds files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.wav"]


def test_without_a_bundle_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["recordings"]) == 2
    assert "make it with: python -m export.build --output demo-engine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_voice_leaves_no_folder(
    tiny_engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recordings"
    assert main([str(folder), "--engine", str(tiny_engine), "--voice", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
    assert not folder.exists()
