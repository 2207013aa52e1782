"""The language model in a file of packed weights: what is unpacked equals the checkpoint."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from export.native.weights import Formats
from export.readers.checkpoint import Checkpoint
from export.readers.codec_checkpoint import CodecCheckpoint, open_codec
from formats.precisions import Precision
from formats.weights import Array
from tests.export.lm_exports import Recipe
from tests.export.native.packed import Packed, layer_values, opened, pack, read_header, values
from tests.tiny_codec import OTHER_STREAMS, make_codec_checkpoint

HIDDEN, LAYERS = 64, 3
KINDS = [
    Recipe(3, speaker_aware=True),
    Recipe(6, "mlp"),
    Recipe(6, "transformer"),
    Recipe(1),
    Recipe(plain=True),
    Recipe(8, streams=OTHER_STREAMS),
    Recipe(4, "transformer", streams=OTHER_STREAMS),
    Recipe(1, streams=OTHER_STREAMS),
]


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> CodecCheckpoint:
    return open_codec(make_codec_checkpoint(tmp_path_factory.mktemp("codec")))


@pytest.mark.parametrize("recipe", KINDS, ids=str)
def test_the_backbone_is_the_checkpoints(
    recipe: Recipe, codec: CodecCheckpoint, tmp_path: Path
) -> None:
    checkpoint = opened(recipe)
    packed = pack(tmp_path, checkpoint, codec, Formats())
    for layer in range(LAYERS):
        source = f"model.layers.{layer}"
        for name, expected in layer_values(checkpoint, source).items():
            np.testing.assert_array_equal(packed.rows(f"layer.{layer}.{name}"), expected)
        biases = [values(checkpoint, f"{source}.self_attn.{x}_proj.bias") for x in "qkv"]
        np.testing.assert_array_equal(packed.bias(f"layer.{layer}.qkv"), np.concatenate(biases))
        for name, norm in (("input_norm", "input"), ("mlp_norm", "post_attention")):
            expected = values(checkpoint, f"{source}.{norm}_layernorm.weight")
            np.testing.assert_array_equal(packed.floats(f"layer.{layer}.{name}"), expected)
    final = values(checkpoint, "model.norm.weight")
    np.testing.assert_array_equal(packed.floats("final_norm"), final)
    theta = 1e6 ** (-2 * np.arange(8) / 16)
    np.testing.assert_allclose(packed.floats("rotary.frequencies"), theta, rtol=1e-6)


@pytest.mark.parametrize("recipe", KINDS, ids=str)
def test_facts_are_those_of_the_config(
    recipe: Recipe, codec: CodecCheckpoint, tmp_path: Path
) -> None:
    packed = pack(tmp_path, opened(recipe), codec, Formats("bf16"))
    facts, model = packed.facts, packed.facts["language_model"]
    is_next_token = recipe.plain or recipe.heads == 1
    assert facts["format"] == 1
    assert model["kind"] == ("ntp" if is_next_token else "mtp")
    assert model["head_kind"] == ("lm_head" if is_next_token else recipe.head_kind)
    assert model["heads"] == (1 if is_next_token else recipe.heads)
    assert [model[key] for key in ("hidden_size", "intermediate_size", "layers")] == [64, 112, 3]
    assert [model[key] for key in ("query_heads", "kv_heads", "head_dim")] == [4, 2, 16]
    assert model["head_layers"] == (2 if recipe.head_kind == "transformer" else 0)
    assert (model["precision"], model["cache"]) == ("bf16", "float16")
    assert model["max_positions"] == 2048
    assert model["rms_norm_epsilon"] == opened(recipe).config.rms_norm_eps
    assert facts["streams"] == [*recipe.streams.sizes]
    assert (facts["speaker"] is None) != recipe.speaker_aware


@pytest.mark.parametrize("recipe", [r for r in KINDS if r.heads > 1 and not r.plain], ids=str)
def test_each_head_has_its_own_entries(
    recipe: Recipe, codec: CodecCheckpoint, tmp_path: Path
) -> None:
    checkpoint = opened(recipe)
    packed = pack(tmp_path, checkpoint, codec, Formats())
    last = {"linear": "head", "mlp": "head.2", "transformer": "head_proj"}[recipe.head_kind]
    for head in range(recipe.heads):
        source, sizes = f"speech_heads.{head}", recipe.streams.sizes
        weight, bias = (values(checkpoint, f"{source}.{last}.{k}") for k in ("weight", "bias"))
        entries = sizes[head % len(sizes)] + (1 if head < len(sizes) else 2)
        assert weight.shape[0] == entries
        np.testing.assert_array_equal(packed.rows(f"head.{head}.output"), weight)
        np.testing.assert_array_equal(packed.bias(f"head.{head}.output"), bias)
        if recipe.head_kind == "mlp":
            inner = values(checkpoint, f"{source}.head.0.weight")
            np.testing.assert_array_equal(packed.rows(f"head.{head}.inner"), inner)
            inner = values(checkpoint, f"{source}.head.0.bias")
            np.testing.assert_array_equal(packed.bias(f"head.{head}.inner"), inner)
        if recipe.head_kind == "transformer":
            check_head_layers(checkpoint, packed, head)


def check_head_layers(checkpoint: Checkpoint, packed: Packed, head: int) -> None:
    """Norms are folded into the projections behind them."""
    for layer in range(2):
        source = f"speech_heads.{head}.head_layers.{layer}"
        own, wanted = f"head.{head}.layer.{layer}", layer_values(checkpoint, source)
        wanted["qkv"] = wanted["qkv"] * values(checkpoint, f"{source}.input_layernorm.weight")
        norm = values(checkpoint, f"{source}.post_attention_layernorm.weight")
        wanted["gate_up"] = wanted["gate_up"] * norm
        for name, expected in wanted.items():
            np.testing.assert_array_equal(packed.rows(f"{own}.{name}"), expected)
        for norm_name in ("input_norm", "mlp_norm"):
            assert (packed.floats(f"{own}.{norm_name}") == np.ones(HIDDEN)).all()
    for kind in ("weight", "bias"):
        expected = values(checkpoint, f"speech_heads.{head}.head_norm.{kind}")
        np.testing.assert_array_equal(packed.floats(f"head.{head}.norm.{kind}"), expected)


@pytest.mark.parametrize("recipe", [r for r in KINDS if r.heads == 1 or r.plain], ids=str)
def test_a_next_token_model_has_a_head_for_each_stream(
    recipe: Recipe, codec: CodecCheckpoint, tmp_path: Path
) -> None:
    checkpoint = opened(recipe)
    packed = pack(tmp_path, checkpoint, codec, Formats())
    table = values(checkpoint, checkpoint.output_embeddings)
    for stream, codes in enumerate(checkpoint.tokens.codes):
        expected = table[[*codes, checkpoint.tokens.end]]
        np.testing.assert_array_equal(packed.rows(f"head.{stream}.output"), expected)
        assert not packed.bias(f"head.{stream}.output").any()
    assert f"head.{recipe.streams.count}.output.codes" not in packed.tensors


@pytest.mark.parametrize(
    ("recipe", "precision", "dtype"),
    [
        (KINDS[0], "fp32", np.float32),
        (KINDS[0], "bf16", np.float16),
        (KINDS[3], "fp32", np.float32),
        (Recipe(3, dtype="float16"), "fp32", np.float16),
    ],
    ids=str,
)
def test_embeddings_of_codes(
    recipe: Recipe, precision: Precision, dtype: type, codec: CodecCheckpoint, tmp_path: Path
) -> None:
    checkpoint = opened(recipe)
    packed = pack(tmp_path, checkpoint, codec, Formats(precision))
    tokens, table = checkpoint.tokens, values(checkpoint, "model.embed_tokens.weight")
    ids = [*(code for codes in tokens.codes for code in codes), tokens.end]
    ids += [] if tokens.pad is None else [tokens.pad]
    assert packed.tensors["code_embeddings"].dtype == dtype
    np.testing.assert_array_equal(packed.floats("code_embeddings"), table[ids].astype(dtype))


def test_a_pad_that_does_not_exist_has_no_embedding(codec: CodecCheckpoint, tmp_path: Path) -> None:
    checkpoint = opened(KINDS[0])
    checkpoint = replace(checkpoint, tokens=replace(checkpoint.tokens, pad=None))
    table = pack(tmp_path, checkpoint, codec, Formats()).floats("code_embeddings")
    assert len(table) == 3 * 1024 + 2
    assert not table[-1].any()
    assert table[-2].any()


def test_speaker_and_text_head(codec: CodecCheckpoint, tmp_path: Path) -> None:
    checkpoint = opened(KINDS[0])
    packed = pack(tmp_path, checkpoint, codec, Formats("bf16"))
    for name, module in (("inner", "0"), ("output", "2")):
        weight = values(checkpoint, f"spk_emb_proj.{module}.weight")
        np.testing.assert_array_equal(packed.rows(f"speaker.{name}"), weight)
        bias = values(checkpoint, f"spk_emb_proj.{module}.bias")
        np.testing.assert_array_equal(packed.bias(f"speaker.{name}"), bias)
    text = values(checkpoint, checkpoint.output_embeddings)
    assert packed.facts["text_head"] == {"vocabulary": len(text)}
    assert packed.facts["matrices"]["text_head"]["format"] == "bf16"
    np.testing.assert_array_equal(packed.rows("text_head"), shortened(text))
    never = np.flatnonzero(packed.floats("text_head.never"))
    assert {*never.tolist()} == {*checkpoint.tokens.never_written}


def shortened(array: Array) -> Array:
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def test_layers_in_bfloat16_and_heads_in_float32(codec: CodecCheckpoint, tmp_path: Path) -> None:
    checkpoint = opened(KINDS[2])
    packed = pack(tmp_path, checkpoint, codec, Formats("bf16"))
    for name, expected in layer_values(checkpoint, "model.layers.1").items():
        assert packed.facts["matrices"][f"layer.1.{name}"]["format"] == "bf16"
        np.testing.assert_array_equal(packed.rows(f"layer.1.{name}"), shortened(expected))
    assert packed.facts["matrices"]["head.1.layer.0.qkv"]["format"] == "bf16"
    assert packed.facts["matrices"]["head.1.output"]["format"] == "fp32"


@pytest.mark.parametrize(("dtype", "form"), [("bfloat16", "bf16"), ("float16", "fp16")])
def test_a_checkpoint_of_16_bits_stays_exact_in_half_the_bytes(
    dtype: str, form: str, codec: CodecCheckpoint, tmp_path: Path
) -> None:
    checkpoint = opened(Recipe(3, "transformer", dtype=dtype))
    packed = pack(tmp_path, checkpoint, codec, Formats())
    forms = {name: entry["format"] for name, entry in packed.facts["matrices"].items()}
    assert packed.facts["language_model"]["precision"] == "fp32"
    assert {forms[n] for n in ("layer.0.down", "head.0.output", "head.0.layer.0.down")} == {form}
    assert forms["head.0.layer.0.qkv"] == "fp32"  # a product of two such numbers is not one
    for name, expected in layer_values(checkpoint, "model.layers.2").items():
        np.testing.assert_array_equal(packed.rows(f"layer.2.{name}"), expected)
    check_head_layers(checkpoint, packed, 1)


def test_the_file_is_aligned_and_without_holes(codec: CodecCheckpoint, tmp_path: Path) -> None:
    packed = pack(tmp_path, opened(KINDS[1]), codec, Formats())
    path = tmp_path / "weights.safetensors"
    header = read_header(path)
    assert header.pop("__metadata__").keys() == {"slm"}
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert (8 + length) % 4096 == 0
    entries = sorted(entry["data_offsets"] for entry in header.values())
    assert entries[0][0] == 0
    assert all(one[1] == other[0] for one, other in pairwise(entries))
    assert 8 + length + entries[-1][1] == path.stat().st_size
    paddings = {name for name in header if name.startswith("padding.")}
    assert {header[name]["dtype"] for name in paddings} == {"U8"}
    for name, entry in header.items():
        if name not in paddings:
            assert entry["data_offsets"][0] % 64 == 0, name
    with safe_open(path, "np") as file:
        assert {*file.keys()} == {*header} == {*packed.tensors}
