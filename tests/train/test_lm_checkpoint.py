"""Every published layout loads strictly; every fault is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from commands.errors import UserError
from tests.tiny_models import make_lm_checkpoint
from train.language_model.checkpoint import load_checkpoint, save_checkpoint
from train.language_model.mtp import MtpModel
from train.language_model.ntp import NtpModel

Tensors = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"


def rewrite(folder: Path, change: Callable[[Tensors], None]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def edit_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("kind", ["linear", "mlp", "transformer"])
@pytest.mark.parametrize("speaker_aware", [False, True])
def test_what_is_saved_is_loaded(tmp_path: Path, kind: str, speaker_aware: bool) -> None:
    folder = make_lm_checkpoint(tmp_path / "a", 6, kind, speaker_aware)
    loaded = load_checkpoint(folder)
    assert isinstance(loaded.model, MtpModel)
    save_checkpoint(loaded.model, loaded.tokenizer, tmp_path / "b")
    one, two = load_file(folder / WEIGHTS), load_file(tmp_path / "b" / WEIGHTS)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert "lm_model.lm_head.weight" not in one
    assert {"speech_heads.5.bias", "speech_heads.5.orig_to_small"} <= one.keys()
    modes = {path.stat().st_mode for path in (tmp_path / "b").iterdir()}
    assert modes == {(folder / "config.json").stat().st_mode}


def test_shards_with_an_index(tmp_path: Path) -> None:
    folder = make_lm_checkpoint(tmp_path, 3)
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, inside in shards.items():
        save_file({name: tensors[name] for name in inside}, folder / shard)
    (folder / WEIGHTS).unlink()
    index = {name: shard for shard, inside in shards.items() for name in inside}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    state = load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())
    path.write_text(json.dumps({"weight_map": {"x": "../model-1.safetensors"}}))
    with pytest.raises(UserError, match="not a plain file name"):
        load_checkpoint(folder)
    path.write_text(json.dumps({"weight_map": {"x": "gone.safetensors"}}))
    with pytest.raises(UserError, match=r"gone\.safetensors: not found"):
        load_checkpoint(folder)


def test_a_tied_output_layer_may_be_stored(tmp_path: Path) -> None:
    folder = make_lm_checkpoint(tmp_path, 3)
    embedding = load_file(folder / WEIGHTS)["lm_model.model.embed_tokens.weight"]
    rewrite(folder, lambda t: t.update({"lm_model.lm_head.weight": embedding + 1}))
    model = load_checkpoint(folder).model
    assert model.lm_model.lm_head.weight is model.embedding.weight
    torch.testing.assert_close(model.embedding.weight.detach(), embedding)


def test_an_output_layer_of_its_own(tmp_path: Path) -> None:
    folder = make_lm_checkpoint(tmp_path, 1)
    own = torch.randn_like(load_file(folder / WEIGHTS)["lm_model.model.embed_tokens.weight"])
    rewrite(folder, lambda t: t.update({"lm_model.lm_head.weight": own}))
    edit_config(folder, tie_word_embeddings=False)
    torch.testing.assert_close(load_checkpoint(folder).model.lm_model.lm_head.weight.detach(), own)


def test_plain_qwen2_directory_and_old_rotary_tables(tmp_path: Path) -> None:
    folder = make_lm_checkpoint(tmp_path, plain=True)
    table = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    rewrite(folder, lambda t: t.update(table))
    loaded = load_checkpoint(folder)
    assert isinstance(loaded.model, NtpModel)
    stored = load_file(folder / WEIGHTS)["model.norm.weight"]
    torch.testing.assert_close(loaded.model.lm_model.model.norm.weight.detach(), stored)


def test_rows_of_the_table_decide_over_the_config(tmp_path: Path) -> None:
    folder = make_lm_checkpoint(tmp_path, 1)
    edit_config(folder, vocab_size=77)
    loaded = load_checkpoint(folder)
    assert loaded.config.vocab_size == len(loaded.model.embedding.weight) != 77


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_half_precision_files(tmp_path: Path, dtype: str, tolerance: float) -> None:
    exact = load_file(make_lm_checkpoint(tmp_path / "a", 3) / WEIGHTS)
    folder = make_lm_checkpoint(tmp_path / "b", 3, dtype=dtype)
    model = load_checkpoint(folder).model
    assert model.embedding.weight.dtype == torch.float32
    for name, tensor in model.state_dict().items():
        if name in exact:
            torch.testing.assert_close(tensor, exact[name], rtol=tolerance, atol=tolerance)


HEAD = "speech_heads.1.head.weight"


def drop(tensors: Tensors) -> None:
    del tensors[HEAD]


def cut(tensors: Tensors) -> None:
    tensors[HEAD] = tensors[HEAD][:-1].clone()


def add(tensors: Tensors) -> None:
    tensors["speech_heads.3.head.weight"] = torch.zeros(2)


def swap_ids(tensors: Tensors) -> None:
    tensors["speech_heads.0.small_to_orig"] = tensors["speech_heads.0.small_to_orig"].flip(0)


def fewer_rows(tensors: Tensors) -> None:
    name = "lm_model.model.embed_tokens.weight"
    tensors[name] = tensors[name][:100].clone()


def no_embedding(tensors: Tensors) -> None:
    del tensors["lm_model.model.embed_tokens.weight"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (drop, rf"missing: {HEAD}"),
        (cut, rf"wrong shape: {HEAD} \[1024, 64\] instead of \[1025, 64\]"),
        (add, r"unknown: speech_heads\.3\.head\.weight"),
        (swap_ids, r"speech_heads\.0\.small_to_orig disagrees"),
        (fewer_rows, "table has 100 rows"),
        (no_embedding, "no tensor 'lm_model.model.embed_tokens.weight'"),
    ],
)
def test_tensor_faults(tmp_path: Path, change: Callable[[Tensors], None], named: str) -> None:
    folder = make_lm_checkpoint(tmp_path, 3)
    rewrite(folder, change)
    with pytest.raises(UserError, match=named):
        load_checkpoint(folder)


def test_wrong_head_count_and_truncated_file(tmp_path: Path) -> None:
    folder = make_lm_checkpoint(tmp_path, 3)
    edit_config(folder, medusa_num_heads=6)
    with pytest.raises(UserError, match=r"missing: speech_heads\.3.* more"):
        load_checkpoint(folder)
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="not a safetensors file, or damaged"):
        load_checkpoint(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="holds neither"):
        load_checkpoint(folder)
