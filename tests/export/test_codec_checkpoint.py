"""Codec checkpoints of both layouts, read without torch where they can be, and refused when bad."""

from __future__ import annotations

import builtins
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from commands.errors import UserError
from export.readers.codec_checkpoint import make_codec, open_codec
from export.readers.codec_tensors import expected_shapes
from export.readers.pickle_reader import read_pickle
from formats.checkpoint.codec_config import CODEC_WEIGHTS_FILE, PUBLISHED_FILES, CodecConfig
from tests.tiny_codec import make_codec_checkpoint, tiny_codec_config
from tests.train.published_codec import published_state
from train.codec_model.checkpoint import load_codec
from train.codec_model.facodec import FACodec

ENCODER_FILE, DECODER_FILE = PUBLISHED_FILES.values()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_codec_checkpoint(tmp_path / "codec")


def change(folder: Path, tensors: dict[str, torch.Tensor | None]) -> None:
    """Replace tensors of `codec.safetensors`; None removes."""
    stored = load_file(folder / CODEC_WEIGHTS_FILE)
    for key, tensor in tensors.items():
        stored.pop(key, None)
        if tensor is not None:
            stored[key] = tensor
    save_file(stored, folder / CODEC_WEIGHTS_FILE)


@pytest.mark.parametrize(
    "changes", [{}, {"activation": "snake"}, {"content_encoder": "mel"}, {"residual_codebooks": 0}]
)
def test_the_needed_tensors_are_those_of_the_pytorch_modules(changes: dict[str, Any]) -> None:
    config = tiny_codec_config(**changes)
    state = FACodec(config).state_dict()
    expected = dict(expected_shapes(config))
    assert {name: tuple(state[name].shape) for name in expected} == expected
    unused = {name for name in state if name not in expected}
    assert all(name.startswith("decoder.quantizer.2") or "position_emb" in name for name in unused)


def test_values_are_exact(folder: Path) -> None:
    codec, model = open_codec(folder), load_codec(folder)
    for name, shape in expected_shapes(codec.config):
        weight = codec.weight(name)
        assert weight.shape == shape
        np.testing.assert_array_equal(weight.read(), model.state_dict()[name].numpy())


def test_half_precision_weights_are_read(folder: Path) -> None:
    halved = {
        name: tensor.half() for name, tensor in load_file(folder / CODEC_WEIGHTS_FILE).items()
    }
    save_file(halved, folder / CODEC_WEIGHTS_FILE)
    weight = open_codec(folder).vector("decoder.timbre_linear.bias")
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, halved["decoder.timbre_linear.bias"].float().numpy())


def test_own_layout_needs_no_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_torch(name: str, *args: Any, **kwargs: Any) -> Any:
        assert name.split(".")[0] != "torch", "torch was imported"
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    codec = open_codec(folder)
    for name, _ in expected_shapes(codec.config):
        codec.vector(name)


def test_weight_norm_is_folded(folder: Path) -> None:
    name = "decoder.model.1.block.1.weight"  # transposed: the norm is per *input* channel
    model = load_codec(folder)
    weight = model.state_dict()[name]
    gain, direction = weight.flatten(1).norm(dim=1)[:, None, None], 3.0 * weight
    change(folder, {name: None, f"{name}_g": gain, f"{name}_v": direction})
    np.testing.assert_allclose(open_codec(folder).vector(name), weight.numpy(), rtol=1e-6)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weight_norm_as_parametrizations_and_wrappers(folder: Path, prefix: str) -> None:
    """What torch.nn.utils.parametrizations.weight_norm saves, under DDP and torch.compile."""
    model = load_codec(folder)
    expected = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    layers: Any = model.decoder.model
    normed = [layers[0], layers[1].block[1]]  # the second: transposed
    for module in normed:
        torch.nn.utils.parametrizations.weight_norm(module)
    state = model.state_dict()
    names = [name for name in state if "parametrizations.weight.original" in name]
    assert len(names) == 2 * len(normed)
    part = {"encoder": "encoder.", "decoder": "decoder."}
    wrapped = {
        f"{part[name.split('.')[0]]}{prefix}{name.split('.', 1)[1]}": tensor.contiguous().clone()
        for name, tensor in state.items()
    }
    save_file(wrapped, folder / CODEC_WEIGHTS_FILE)
    codec, loaded = open_codec(folder), load_codec(folder).state_dict()
    for name, _ in expected_shapes(codec.config):
        np.testing.assert_allclose(codec.vector(name), expected[name], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(loaded[name].numpy(), expected[name], rtol=1e-5, atol=1e-7)


# The published pair. Its files hold no sizes, so tiny ones are opened with their config.


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, CodecConfig]:
    config = tiny_codec_config()
    state = published_state(FACodec(config))
    tables = {name for name in state["decoder"] if name.endswith("position_emb.pe")}
    state["decoder"] |= {name: torch.zeros(5000, 1, 256) for name in tables}
    torch.save(state["encoder"], tmp_path / ENCODER_FILE)
    torch.save(state["decoder"], tmp_path / DECODER_FILE)
    return tmp_path, config


def test_published_files_are_read_and_training_only_modules_skipped(
    published: tuple[Path, CodecConfig],
) -> None:
    folder, config = published
    tensors = {
        f"{part}.{name}": tensor
        for part, file in PUBLISHED_FILES.items()
        for name, tensor in read_pickle(folder / file).items()
    }
    assert "decoder.phone_predictor.heads.0.weight" in tensors
    codec = make_codec(folder, config, tensors)
    for name, shape in expected_shapes(config):
        assert codec.vector(name).shape == shape
    name = "decoder.quantizer.1.layers.1.in_proj.weight"
    gain, direction = tensors[f"{name}_g"].read(), tensors[f"{name}_v"].read()
    expected = gain * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    np.testing.assert_allclose(codec.vector(name), expected, rtol=1e-6)


def test_published_files_of_another_size_are_refused(published: tuple[Path, CodecConfig]) -> None:
    with pytest.raises(UserError, match=r"ns3_facodec_encoder_v2\.bin: tensor block\.\d.* shape"):
        open_codec(published[0])


def test_one_published_file_alone(published: tuple[Path, CodecConfig]) -> None:
    (published[0] / DECODER_FILE).unlink()
    with pytest.raises(UserError, match="holds no codec; wanted"):
        open_codec(published[0])


def test_a_pickle_cannot_run_code(tmp_path: Path, published: tuple[Path, CodecConfig]) -> None:
    mark = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(mark),)

    torch.save({"block.0.bias": Hostile()}, published[0] / ENCODER_FILE)
    with pytest.raises(UserError, match="not a state dict that can be read safely") as caught:
        open_codec(published[0])
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_pickles_without_torch(
    published: tuple[Path, CodecConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="need torch to be read"):
        open_codec(published[0])


def test_a_folder_with_a_name_that_is_not_utf8(folder: Path) -> None:
    name = "decoder.timbre_linear.bias"
    expected = open_codec(folder).vector(name).copy()
    other = folder.rename(folder.with_name(os.fsdecode(b"caf\xe9")))
    np.testing.assert_array_equal(open_codec(other).vector(name), expected)
    np.testing.assert_array_equal(load_codec(other).state_dict()[name].numpy(), expected)


# What is wrong is named.


def test_missing_tensor(folder: Path) -> None:
    change(folder, {"decoder.timbre_linear.bias": None})
    with pytest.raises(UserError, match=r"decoder\.timbre_linear\.bias is missing"):
        open_codec(folder)


def test_misshapen_tensor(folder: Path) -> None:
    change(folder, {"decoder.timbre_linear.bias": torch.zeros(3)})
    with pytest.raises(UserError, match=r"timbre_linear\.bias has shape \[3\], not \[512\]"):
        open_codec(folder)


def test_unexpected_tensor(folder: Path) -> None:
    change(folder, {"decoder.surprise": torch.zeros(3)})
    with pytest.raises(UserError, match=r"decoder\.surprise is unexpected"):
        open_codec(folder)


def test_integer_weights(folder: Path) -> None:
    change(folder, {"decoder.timbre_linear.bias": torch.zeros(512, dtype=torch.int64)})
    with pytest.raises(UserError, match="holds integers"):
        open_codec(folder)


def test_half_of_a_weight_norm(folder: Path) -> None:
    name = "decoder.model.0.weight"
    shape = load_file(folder / CODEC_WEIGHTS_FILE)[name].shape
    change(folder, {name: None, f"{name}_v": torch.ones(shape)})
    with pytest.raises(UserError, match=r"decoder\.model\.0\.weight is missing"):
        open_codec(folder)


def test_misshapen_magnitude(folder: Path) -> None:
    name = "decoder.model.0.weight"
    shape = load_file(folder / CODEC_WEIGHTS_FILE)[name].shape
    change(folder, {name: None, f"{name}_v": torch.ones(shape), f"{name}_g": torch.ones(2)})
    with pytest.raises(UserError, match=r"weight_g has shape \[2\]"):
        open_codec(folder)


def test_config_without_weights(folder: Path) -> None:
    (folder / CODEC_WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match=r"codec\.safetensors: not found"):
        open_codec(folder)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_weights(folder: Path, kept: int) -> None:
    content = (folder / CODEC_WEIGHTS_FILE).read_bytes()
    (folder / CODEC_WEIGHTS_FILE).write_bytes(content[:kept])
    with pytest.raises(UserError, match=r"codec\.safetensors"):
        open_codec(folder)


def test_a_folder_without_a_codec(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no codec; wanted"):
        open_codec(tmp_path)
