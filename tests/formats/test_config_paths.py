"""Where the paths of a configuration lead, and how numbers may be written in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from commands.errors import UserError
from formats.files.strict_fields import build_dataclass
from train.codec_training.config import read_located_config
from train.language_model_training.settings import (
    OptimizerSettings,
    read_located_settings,
    read_settings,
)

PHASE = "{steps: 4, batch: 2, crop_frames: 12, learning_rate: 1e-3, final_learning_rate: 1.e-4}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project beside the working folder, each with tokens of its own."""
    for folder in ("project/tokens", "work/tokens", "work/only"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("project/tokens/h3.jsonl", "work/tokens/h3.jsonl", "work/only/h3.jsonl"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "project"


def write_lm(path: Path, file: str, **model: Any) -> Path:
    settings = {"model": {"heads": 3} | model, "data": {"train": [{"file": file}]}, "max_steps": 1}
    path.write_text(yaml.safe_dump(settings))
    return path


def test_paths_are_relative_to_their_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_located_settings(write_lm(project / "lm.yaml", "tokens/h3.jsonl"))
    assert Path(settings.data.train[0].file) == project / "tokens/h3.jsonl"
    assert capsys.readouterr().err == ""


def test_what_is_not_there_is_taken_from_the_working_folder_and_said(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_located_settings(write_lm(project / "lm.yaml", "only/h3.jsonl"))
    assert settings.data.train[0].file == "only/h3.jsonl"
    assert "only/h3.jsonl is taken from the working folder" in capsys.readouterr().err


def test_paths_of_an_extended_file_are_relative_to_it(project: Path) -> None:
    write_lm(project / "lm.yaml", "tokens/h3.jsonl")
    more = project / "variants" / "more.yaml"
    more.parent.mkdir()
    more.write_text("extends: ../lm.yaml\nseed: 1\n")
    settings = read_located_settings(more)
    assert Path(settings.data.train[0].file).resolve() == project / "tokens/h3.jsonl"
    assert settings.seed == 1


def test_every_place_that_was_tried_is_named(project: Path) -> None:
    with pytest.raises(UserError) as error:
        read_located_settings(write_lm(project / "lm.yaml", "gone/h3.jsonl"))
    message = str(error.value)
    assert f"'file': {project / 'gone/h3.jsonl'}: no such file" in message
    assert f"nor {project.parent / 'work/gone/h3.jsonl'}" in message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (
            "Qwen/Qwen2.5-0.5B",
            "nothing is downloaded: get it with hf download Qwen/Qwen2.5-0.5B --local-dir "
            "Qwen2.5-0.5B, then name the folder Qwen2.5-0.5B",
        ),
        ("Qwen2.5-0.5B", "nothing is downloaded: name a folder with config.json"),
    ],
)
@pytest.mark.parametrize("key", ["base_model", "tokenizer"])
def test_names_of_hubs_are_no_folders(project: Path, key: str, name: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        read_located_settings(write_lm(project / "lm.yaml", "tokens/h3.jsonl", **{key: name}))
    assert hint in str(error.value)


def write_codec(path: Path, recordings: str) -> Path:
    text = f"recordings: {recordings}\noutput: codec\ntokenizer: {PHASE}\ndecoder: {PHASE}\n"
    path.write_text(text)
    return path


def test_outputs_lie_where_the_inputs_do(project: Path) -> None:
    beside = read_located_config(write_codec(project / "codec.yaml", "tokens"))
    assert Path(beside.output) == project / "codec"
    assert beside.tokenizer.learning_rate == 1e-3
    (project.parent / "work/recordings").mkdir()
    working = read_located_config(write_codec(project / "codec.yaml", "recordings"))
    assert working.output == "codec"
    absolute = read_located_config(write_codec(project / "codec.yaml", str(project / "tokens")))
    assert Path(absolute.output) == project / "codec"


def test_an_output_that_is_there_is_gone_on_with(project: Path) -> None:
    (project.parent / "work/codec").mkdir()
    found = read_located_config(write_codec(project / "codec.yaml", "tokens"))
    assert found.output == "codec"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_may_be_written_in_any_way(number: float) -> None:
    for written in (f"{number:e}", f"{number:g}", repr(number)):
        values = {"momentum": yaml.safe_load(written)}
        settings = build_dataclass(OptimizerSettings, values, "lm.yaml")
        assert settings.momentum == float(written)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_steps: 1e5", "'max_steps' must be of type int, not '1e5'; write 100000"),
        ("max_steps: 5.0", "'max_steps' must be of type int, not 5.0; write 5"),
        ("max_steps: 5.5", "'max_steps' must be of type int, not 5.5"),
        ("text_weight: 1e", "'text_weight' must be of type float, not '1e'"),
        ("text_weight: nan", "'text_weight' must be of type float, not 'nan'"),
    ],
)
def test_other_numbers_are_refused(project: Path, text: str, message: str) -> None:
    path = project / "lm.yaml"
    settings = yaml.safe_load(write_lm(path, "tokens/h3.jsonl").read_text())
    path.write_text(yaml.safe_dump(settings | yaml.safe_load(text)))
    with pytest.raises(UserError) as error:
        read_settings(path)
    assert str(error.value) == f"{path}: {message}"
