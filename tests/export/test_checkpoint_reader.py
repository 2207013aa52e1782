"""Checkpoints that are right are read exactly; all others get one line that names the fault."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from commands.errors import UserError
from export.checks.lm_parity import check_language_model_parity
from export.graph.precisions import GraphNumbers
from export.language_model.graphs import language_model_graphs
from export.readers.checkpoint import (
    EMBEDDINGS,
    SAFETENSORS_FILE,
    SAFETENSORS_INDEX,
    open_checkpoint,
)
from tests.export.lm_exports import Recipe, tiny_checkpoint
from train.language_model.checkpoint import load_checkpoint

Tensors = dict[str, np.ndarray]
Q_BIAS = "lm_model.model.layers.1.self_attn.q_proj.bias"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that the test may damage."""
    return Path(shutil.copytree(tiny_checkpoint(Recipe(heads=3)), tmp_path / "checkpoint"))


def change_tensors(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / SAFETENSORS_FILE)
    change(tensors)
    save_file(tensors, folder / SAFETENSORS_FILE)


def refuse(folder: Path, *parts: str) -> None:
    """Opening must fail with one line that holds all `parts`."""
    with pytest.raises(UserError) as error:
        open_checkpoint(folder)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_are_exact(dtype: str) -> None:
    source = tiny_checkpoint(Recipe(heads=3, dtype=dtype))
    checkpoint = open_checkpoint(source)
    stored = load_file(source / SAFETENSORS_FILE)["lm_model." + EMBEDDINGS]
    values = checkpoint.weight(EMBEDDINGS).read()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, stored.astype(np.float32))
    rows = checkpoint.rows("some", [7, 2, 7], of=EMBEDDINGS)
    np.testing.assert_array_equal(rows.read(), values[[7, 2, 7]])


def test_shards_equal_the_whole(folder: Path) -> None:
    whole = open_checkpoint(folder)
    expected = whole.weight(EMBEDDINGS).read().copy()
    tensors = load_file(folder / SAFETENSORS_FILE)
    names = sorted(tensors)
    weight_map = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    for shard in set(weight_map.values()):
        save_file({n: tensors[n] for n in names if weight_map[n] == shard}, folder / shard)
    (folder / SAFETENSORS_INDEX).write_text(json.dumps({"weight_map": weight_map}))
    (folder / SAFETENSORS_FILE).unlink()
    sharded = open_checkpoint(folder)
    assert sharded.tensors.keys() == whole.tensors.keys()
    np.testing.assert_array_equal(sharded.weight(EMBEDDINGS).read(), expected)

    (folder / "model-1.safetensors").unlink()
    refuse(folder, "model-1.safetensors", "not a file beside it")


def test_pickled_weights_equal_safetensors(folder: Path) -> None:
    expected = open_checkpoint(folder).weight(EMBEDDINGS).read().copy()
    tensors = load_file(folder / SAFETENSORS_FILE)
    state = {name: torch.from_numpy(tensor).clone() for name, tensor in tensors.items()}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / SAFETENSORS_FILE).unlink()
    np.testing.assert_array_equal(open_checkpoint(folder).weight(EMBEDDINGS).read(), expected)


WRAPPED = {
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "DDP": lambda name: f"module.{name}",
    "DDP of a compiled model": lambda name: f"module._orig_mod.{name}",
    "a compiled DDP model": lambda name: f"_orig_mod.module.{name}",
    "compiled parts": lambda name: name.replace(".self_attn.", "._orig_mod.self_attn."),
    "FSDP": lambda name: f"_fsdp_wrapped_module.{name}".replace(
        ".mlp.", "._fsdp_wrapped_module._checkpoint_wrapped_module.mlp."
    ),
    "Fabric": lambda name: f"_forward_module.{name}",
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_names_of_wrappers_are_taken_off(folder: Path, wrapper: str) -> None:
    plain, wrap = load_file(folder / SAFETENSORS_FILE), WRAPPED[wrapper]
    expected = open_checkpoint(folder).tensors.keys()
    save_file({wrap(name): tensor for name, tensor in plain.items()}, folder / SAFETENSORS_FILE)
    assert open_checkpoint(folder).tensors.keys() == expected
    state = load_checkpoint(folder).model.state_dict()
    for name, tensor in plain.items():
        np.testing.assert_array_equal(state[name].numpy(), tensor)


def test_two_tensors_of_one_name(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({f"module.{Q_BIAS}": tensors[Q_BIAS]}))
    refuse(folder, "two tensors", Q_BIAS)


@pytest.mark.parametrize("part", ["lora_A.default.weight", "base_layer.weight"])
def test_adapters_that_are_not_merged(folder: Path, part: str) -> None:
    name = f"base_model.model.lm_model.model.layers.0.self_attn.q_proj.{part}"
    change_tensors(folder, lambda tensors: tensors.update({name: np.zeros((4, 4), np.float32)}))
    refuse(folder, name, "merge_and_unload")


def test_an_adapters_folder(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "my/base"}')
    refuse(folder, "LoRA adapter of my/base", "merge_and_unload")


def pickle_weights(folder: Path, **options: bool) -> None:
    tensors = load_file(folder / SAFETENSORS_FILE)
    state = {name: torch.from_numpy(tensor).clone() for name, tensor in tensors.items()}
    torch.save(state, folder / "pytorch_model.bin", **options)
    (folder / SAFETENSORS_FILE).unlink()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_checkpoint_works_all_through(folder: Path, tmp_path: Path, zipped: bool) -> None:
    """Exported, and compared with PyTorch."""
    pickle_weights(folder, _use_new_zipfile_serialization=zipped)
    checkpoint = open_checkpoint(folder)
    graphs = {
        g.name: g.save(tmp_path) for g in language_model_graphs(checkpoint, GraphNumbers("ort"))
    }
    checks = check_language_model_parity(checkpoint, tmp_path, graphs)
    assert len(checks) == 5
    assert all(check.measured <= check.limit for check in checks)


def test_pickled_parameters_and_half_precision(folder: Path) -> None:
    tensors = load_file(folder / SAFETENSORS_FILE)
    for dtype, kept in ((torch.float16, np.float16), (torch.bfloat16, ml_dtypes.bfloat16)):
        state = {
            name: torch.nn.Parameter(torch.from_numpy(tensor).to(dtype))
            if tensor.dtype.kind == "f"
            else torch.from_numpy(tensor)
            for name, tensor in tensors.items()
        }
        torch.save(state, folder / "pytorch_model.bin")
        (folder / SAFETENSORS_FILE).unlink(missing_ok=True)
        checkpoint = open_checkpoint(folder)
        assert checkpoint.tensors[EMBEDDINGS].dtype == kept
        expected = tensors["lm_model." + EMBEDDINGS].astype(kept).astype(np.float32)
        np.testing.assert_array_equal(checkpoint.weight(EMBEDDINGS).read(), expected)


@pytest.mark.parametrize("with_index", [True, False])
def test_pickled_shards(folder: Path, with_index: bool) -> None:
    tensors = load_file(folder / SAFETENSORS_FILE)
    names = sorted(tensors)
    weight_map = {n: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, n in enumerate(names)}
    for shard in set(weight_map.values()):
        inside = {n: torch.from_numpy(tensors[n]).clone() for n in names if weight_map[n] == shard}
        torch.save(inside, folder / shard)
    (folder / SAFETENSORS_FILE).unlink()
    index = folder / "pytorch_model.bin.index.json"
    if with_index:
        index.write_text(json.dumps({"weight_map": weight_map}))
    (folder / "training_args.bin").write_bytes(b"what a trainer leaves beside it")
    state = load_checkpoint(folder).model.state_dict()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(state[name].numpy(), tensor)
    expected = tensors["lm_model." + EMBEDDINGS]
    np.testing.assert_array_equal(open_checkpoint(folder).weight(EMBEDDINGS).read(), expected)
    (folder / "pytorch_model-00001-of-00002.bin").unlink()
    refuse(folder, "not a file beside it" if with_index else "shard 1 of 2")


def test_a_whole_training_state_is_named(folder: Path) -> None:
    pickle_weights(folder)
    path = folder / "pytorch_model.bin"
    state = {"step": 3, "model": torch.load(path), "optimizer": {"lr": 0.1}}
    torch.save(state, path)
    refuse(folder, "whole training state", "under 'model'")


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("touched"),)


def test_pickles_cannot_run_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    torch.save({"weight": _Malicious()}, folder / "pytorch_model.bin")
    (folder / SAFETENSORS_FILE).unlink()
    refuse(folder, "pytorch_model.bin", "read safely")
    assert not (folder / "touched").exists()


def test_missing_tensor(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop(Q_BIAS))
    refuse(folder, "model.layers.1.self_attn.q_proj.bias", "missing")


def test_misshapen_tensor(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({Q_BIAS: np.zeros(63, np.float32)}))
    refuse(folder, Q_BIAS, "shape [63], not [64]")


def test_unexpected_tensor(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update(extra=np.zeros(3, np.float32)))
    refuse(folder, "extra", "unexpected")


def test_integer_weights(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.update({Q_BIAS: np.zeros(64, np.int64)}))
    refuse(folder, Q_BIAS, "integers")


def test_rotary_tables_of_old_checkpoints_are_skipped(folder: Path) -> None:
    name = "lm_model.model.layers.0.self_attn.rotary_emb.inv_freq"
    change_tensors(folder, lambda tensors: tensors.update({name: np.zeros(8, np.float32)}))
    open_checkpoint(folder)


def test_index_maps_must_agree_with_the_tokenizer(folder: Path) -> None:
    name = "speech_heads.1.small_to_orig"
    change_tensors(folder, lambda tensors: tensors.update({name: tensors[name] + 1}))
    refuse(folder, name, "disagrees with the tokenizer")


def test_embedding_table_must_cover_the_tokenizer(folder: Path) -> None:
    name = "lm_model." + EMBEDDINGS
    change_tensors(folder, lambda tensors: tensors.update({name: tensors[name][:100].copy()}))
    refuse(folder, EMBEDDINGS, "100 rows")


def test_heads_of_later_frames_need_a_pad_token(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<|speech_pad|>", "<|other|>"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"medusa_num_heads": 6}))
    refuse(folder, "6 heads", "<|speech_pad|>")


@pytest.mark.parametrize("token", ["<a0>", "<b512>", "<c1023>", "<sosp>", "<eosp>"])
def test_tokenizer_without_speech_tokens(folder: Path, token: str) -> None:
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace(f'"{token}"', '"<gone>"'))
    refuse(folder, token)


def test_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3}')
    refuse(folder, "tokenizer.json")


def test_no_weights_at_all(folder: Path) -> None:
    (folder / SAFETENSORS_FILE).unlink()
    refuse(folder, SAFETENSORS_FILE, SAFETENSORS_INDEX)


@pytest.mark.parametrize("pickled", [False, True])
def test_a_folder_with_a_name_that_is_not_utf8(folder: Path, pickled: bool) -> None:
    if pickled:
        pickle_weights(folder)
    expected = load_checkpoint(folder).model.state_dict()
    other = folder.rename(folder.with_name(os.fsdecode(b"caf\xe9")))
    values = open_checkpoint(other).weight(EMBEDDINGS).read()
    np.testing.assert_array_equal(values, expected["lm_model." + EMBEDDINGS].numpy())
    loaded = load_checkpoint(other).model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_a_checkpoint_of_links(folder: Path, tmp_path: Path) -> None:
    """A snapshot in a hub's cache: links to files that are called after their hashes."""
    (tmp_path / "snapshot").mkdir()
    for index, file in enumerate(sorted(folder.iterdir())):
        blob = folder / f"{index:040x}"
        file.rename(blob)
        (tmp_path / "snapshot" / file.name).symlink_to(blob)
    checkpoint = open_checkpoint(tmp_path / "snapshot")
    state = load_checkpoint(tmp_path / "snapshot").model.state_dict()
    np.testing.assert_array_equal(
        checkpoint.weight(EMBEDDINGS).read(), state["lm_model." + EMBEDDINGS].numpy()
    )


def test_bfloat16_is_a_known_type() -> None:
    """ml_dtypes and torch agree on what bfloat16 bits mean."""
    values = torch.tensor([1.0, -2.5, 3e38, 1e-30], dtype=torch.bfloat16)
    bits = values.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(bits.astype(np.float32), values.float().numpy())
