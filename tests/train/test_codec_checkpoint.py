"""Codec checkpoints: both layouts, and everything that must be refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig
from tests.tiny_codec import make_codec_checkpoint, tiny_codec_config
from tests.tiny_weights import make_codec
from tests.train.published_codec import published_state, write_published
from train.codec_model import checkpoint as codec_checkpoint
from train.codec_model.checkpoint import load_codec, save_codec

States = dict[str, dict[str, torch.Tensor]]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, States]:
    """A tiny codec in the published layout, which has no room for its sizes."""
    config = tiny_codec_config()
    monkeypatch.setattr(codec_checkpoint, "find_codec_config", lambda folder: config)
    state = published_state(make_codec(config))
    return write_published(tmp_path, state), state


def test_own_layout_round_trip(tmp_path: Path) -> None:
    codec = make_codec(tiny_codec_config(residual_codebooks=0, content_encoder="mel"))
    save_codec(codec, tmp_path)
    loaded = load_codec(tmp_path)
    assert loaded.config == codec.config
    for key, tensor in codec.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key
    assert sorted(file.name for file in tmp_path.iterdir()) == ["codec.json", "codec.safetensors"]


def test_half_precision_files_load_as_floats(tmp_path: Path) -> None:
    codec = make_codec(tiny_codec_config())
    save_codec(codec, tmp_path, torch.float16)
    for tensor in load_codec(tmp_path).state_dict().values():
        assert tensor.dtype == torch.float32


def test_published_layout_folds_weight_norm(published: tuple[Path, States]) -> None:
    folder, state = published
    weight = load_codec(folder).state_dict()["decoder.model.0.weight"]
    gain = state["decoder"]["model.0.weight_g"]
    direction = state["decoder"]["model.0.weight_v"]
    expected = gain * direction / direction.norm(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(weight, expected)


def test_position_tables_are_cut_to_their_first_row(published: tuple[Path, States]) -> None:
    folder, state = published
    key = "timbre_encoder.position_emb.pe"
    state["decoder"][key] = torch.cat([state["decoder"][key], torch.ones(4999, 1, 256)])
    write_published(folder, state)
    assert load_codec(folder).state_dict()[f"decoder.{key}"].shape == (1, 1, 256)


def drop(state: States) -> None:
    del state["decoder"]["timbre_linear.bias"]


def drop_gain(state: States) -> None:
    del state["decoder"]["model.0.weight_g"]


def misshape(state: States) -> None:
    state["decoder"]["timbre_linear.bias"] = torch.zeros(3)


def misshape_gain(state: States) -> None:
    state["decoder"]["model.0.weight_g"] = torch.zeros(5, 1, 1)


def poison(state: States) -> None:
    state["decoder"]["timbre_linear.bias"][2] = torch.nan


def add(state: States) -> None:
    state["decoder"]["timbre_linear.scale"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"decoder\.timbre_linear\.bias is missing"),
        (drop_gain, r"decoder\.model\.0\.weight_g is missing"),
        (misshape, r"decoder\.timbre_linear\.bias has shape \[3\], not \[512\]"),
        (misshape_gain, r"decoder\.model\.0\.weight_g has shape"),
        (poison, r"decoder\.timbre_linear\.bias holds numbers that are not finite"),
        (add, r"decoder\.timbre_linear\.scale is unknown"),
    ],
)
def test_wrong_tensors_are_named(
    published: tuple[Path, States], change: Callable[[States], None], message: str
) -> None:
    folder, state = published
    change(state)
    write_published(folder, state)
    with pytest.raises(UserError, match=message):
        load_codec(folder)


class RunsCode:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_runs_code_is_refused(published: tuple[Path, States]) -> None:
    folder, state = published
    marker = folder / "owned"
    torch.save({**state["decoder"], "x": RunsCode(marker)}, folder / "ns3_facodec_decoder_v2.bin")
    with pytest.raises(UserError, match="not a state dict that can be read safely"):
        load_codec(folder)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x80\x04K\x01."])
def test_broken_pickles_are_one_line(published: tuple[Path, States], content: bytes) -> None:
    folder, _ = published
    (folder / "ns3_facodec_encoder_v2.bin").write_bytes(content)
    with pytest.raises(UserError, match="not a state dict that can be read safely"):
        load_codec(folder)


def test_broken_safetensors_are_one_line(tmp_path: Path) -> None:
    make_codec_checkpoint(tmp_path)
    (tmp_path / "codec.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match=r"codec\.safetensors: not a safetensors file"):
        load_codec(tmp_path)


def test_an_empty_folder_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"codec\.json.*ns3_facodec_encoder_v2\.bin"):
        load_codec(tmp_path)


def test_sizes_that_do_not_fit_the_tensors_are_refused(tmp_path: Path) -> None:
    make_codec_checkpoint(tmp_path)
    (tmp_path / "codec.json").write_text(CodecConfig().to_json())
    with pytest.raises(UserError, match=r"has shape|is missing"):
        load_codec(tmp_path)
