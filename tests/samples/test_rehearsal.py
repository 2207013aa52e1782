"""The demo voice's recipe in small: what is shortened, and that nothing else is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from samples.demo_voice.rehearsal import RECIPE, main
from train.codec_training.config import read_training_config
from train.language_model_training.settings import read_settings

LM_FILES = sorted(path.name for path in RECIPE.glob("lm-*.yaml"))
CODEC_FILES = sorted(path.name for path in RECIPE.glob("codec*.yaml"))


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    assert main([str(tmp_path / "runs")]) == 0
    return tmp_path / "runs" / "configs"


def test_every_configuration_of_the_recipe_has_one(configs: Path) -> None:
    assert sorted(path.name for path in configs.iterdir()) == sorted(LM_FILES + CODEC_FILES)
    assert all("runs/demo" not in path.read_text(encoding="utf-8") for path in configs.iterdir())


@pytest.mark.parametrize("name", LM_FILES)
def test_language_models_train_a_few_steps(name: str, configs: Path) -> None:
    short, whole = read_settings(configs / name), read_settings(RECIPE / name)
    assert short.max_steps < 10 < whole.max_steps
    assert short.history_noise == whole.history_noise
    assert short.guided_attention == whole.guided_attention
    assert short.model.heads == whole.model.heads


def test_tuning_goes_on_where_training_ended(configs: Path) -> None:
    first, second = (read_settings(configs / f"lm-12{kind}.yaml") for kind in ("", "-tuned"))
    assert first.save_every <= first.max_steps < second.max_steps
    before, after = (read_training_config(configs / f"codec{kind}.yaml") for kind in ("", "-tuned"))
    assert before.decoder.steps < after.decoder.steps


@pytest.mark.parametrize("heads", [3, 6])
def test_models_whose_mean_speaks_have_one_beginning(heads: int) -> None:
    first, second = (read_settings(RECIPE / f"lm-{heads}-{name}.yaml") for name in "ab")
    assert first.model.base_model == f"runs/demo/lm-{heads}-first"
    assert first.seed != second.seed
    assert first.history_corruption != second.history_corruption
    corruption = first.history_corruption
    assert dataclasses.replace(second, seed=first.seed, history_corruption=corruption) == first
    beginning = read_settings(RECIPE / f"lm-{heads}-first.yaml").model
    assert dataclasses.replace(first.model, base_model=beginning.base_model) == beginning


@pytest.mark.parametrize("name", CODEC_FILES)
def test_codecs_train_a_few_steps_with_their_adversary(name: str, configs: Path) -> None:
    short, whole = (read_training_config(folder / name) for folder in (configs, RECIPE))
    assert short.tokenizer.steps < 10 < whole.tokenizer.steps
    assert short.decoder.adversary_from is not None
    assert short.decoder.adversary_from < short.decoder.steps < 10 < whole.decoder.steps
    assert short.codec == whole.codec
