"""Codecs with half-precision weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_codec import make_codec_checkpoint
from train.codec_model.checkpoint import load_codec
from train.halve_codec import main


def test_weights_are_halved_and_what_must_be_exact_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_codec_checkpoint(tmp_path / "whole")
    assert main([str(source), str(tmp_path / "half")]) == 0
    assert "of its peak" in capsys.readouterr().out
    stored = load_file(tmp_path / "half" / "codec.safetensors")
    kept = {"mel_basis", "hann_window", "pe", "filter"}
    for key, tensor in stored.items():
        half = key.rsplit(".", 1)[1] not in kept and ".quantizer." not in key
        assert tensor.dtype == (torch.float16 if half else torch.float32), key
    frames = torch.randint(0, 1024, (1, 30, 3), generator=torch.Generator().manual_seed(0))
    speaker = torch.ones(1, 256)
    with torch.no_grad():
        audio = load_codec(source).decode(frames, speaker)
        halved = load_codec(tmp_path / "half").decode(frames, speaker)
    assert not torch.equal(audio, halved)
    assert (audio - halved).abs().max() < 2e-2 * audio.abs().max()


def test_a_codec_that_would_change_too_much_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_codec_checkpoint(tmp_path / "whole")
    assert main([str(source), str(tmp_path / "half"), "--limit", "1e-9"]) == 2
    assert "audio would change" in capsys.readouterr().err
    assert not (tmp_path / "half").exists()


def test_its_source_and_folders_of_something_else_are_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_codec_checkpoint(tmp_path / "whole")
    assert main([str(source), str(source)]) == 2
    assert "would replace its source" in capsys.readouterr().err
    bundle = tmp_path / "engine"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{}")
    assert main([str(source), str(bundle)]) == 2
    assert "exists and is no codec (it has no codec.json)" in capsys.readouterr().err
    assert [path.name for path in bundle.iterdir()] == ["manifest.json"]
