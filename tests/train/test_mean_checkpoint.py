"""The mean of checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_models import make_lm_checkpoint
from train.language_model.checkpoint import load_checkpoint
from train.mean_checkpoint import main


def test_every_weight_is_the_mean(tmp_path: Path) -> None:
    sources = [make_lm_checkpoint(tmp_path / f"{seed}", heads=6, seed=seed) for seed in range(3)]
    output = tmp_path / "mean"
    assert main([*map(str, sources), "--output", str(output)]) == 0
    stored = [load_file(source / "model.safetensors") for source in sources]
    mean = load_file(output / "model.safetensors")
    assert set(mean) == set(stored[0])
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            expected = torch.stack([weights[name] for weights in stored]).mean(0)
            torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-6)
        else:  # index maps
            assert torch.equal(tensor, stored[0][name])
    assert load_checkpoint(output).config == load_checkpoint(sources[0]).config


def test_half_precision_is_a_choice(tmp_path: Path) -> None:
    sources = [make_lm_checkpoint(tmp_path / f"{seed}", seed=seed) for seed in range(2)]
    output = tmp_path / "mean"
    assert main([*map(str, sources), "--output", str(output), "--dtype", "float16"]) == 0
    table = load_file(output / "model.safetensors")["lm_model.model.embed_tokens.weight"]
    assert table.dtype == torch.float16


@pytest.mark.parametrize(("heads", "named"), [(None, "two checkpoints"), (3, "not the config")])
def test_what_has_no_mean_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], heads: int | None, named: str
) -> None:
    sources = [str(make_lm_checkpoint(tmp_path / "first", heads=6))]
    if heads is not None:
        sources.append(str(make_lm_checkpoint(tmp_path / "second", heads=heads)))
    assert main([*sources, "--output", str(tmp_path / "mean")]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_a_checkpoint_or_a_bundle_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [str(make_lm_checkpoint(tmp_path / f"{seed}", seed=seed)) for seed in range(2)]
    assert main([*sources, "--output", sources[1]]) == 2
    assert "the mean would replace one of its checkpoints" in capsys.readouterr().err
    bundle = tmp_path / "engine"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{}")
    assert main([*sources, "--output", str(bundle)]) == 2
    assert "exists and is no checkpoint (it has no config.json)" in capsys.readouterr().err
    assert [path.name for path in bundle.iterdir()] == ["manifest.json"]
