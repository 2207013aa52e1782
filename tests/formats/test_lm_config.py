"""config.json of every layout is read, and every fault is one line naming file and key."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.errors import UserError
from formats.checkpoint.language_model_config import (
    LengthSettings,
    SamplingSettings,
    parse_lm_config,
    read_lm_config,
)
from formats.checkpoint.prompts import TTS_PROMPT
from formats.streams import FACODEC, Streams

PUBLISHED: dict[str, Any] = {
    "architectures": ["MedusaModelForQwen2_6Head"],
    "attention_dropout": 0.0,
    "base_model_name_or_path": "Qwen2.5-0.5B",
    "head_implement": "mlp",
    "head_transformers_layer": 2,
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "medusa_num_heads": 6,
    "model_max_length": 8192,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "spk_aware": True,
    "spk_emb_dim": 256,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 154743,
}


def test_published_config() -> None:
    config = parse_lm_config(PUBLISHED, "config.json")
    assert (config.kind, config.heads, config.frames_per_step) == ("mtp", 6, 2)
    assert (config.head_dim, config.speaker_hidden_size) == (64, 1024)
    assert config.rope_theta == 1e6
    assert config.prompts.tts == TTS_PROMPT
    assert config.text_frontend.kind == "none"
    assert (config.sampling.do_sample, config.sampling.top_p) == (True, 0.8)


def test_own_keys_survive_writing() -> None:
    own = {"sampling": {"top_p": 0.4, "top_k": 20}, "text_frontend": {"kind": "hibari"}}
    config = parse_lm_config(PUBLISHED | own, "config.json")
    assert config.sampling == SamplingSettings(top_p=0.4, top_k=20)
    assert parse_lm_config(config.to_json(), "config.json") == config


def test_streams_and_length_survive_writing() -> None:
    own = {
        "medusa_num_heads": 4,
        "streams": {"sizes": [48, 20], "frames_per_second": 62.5},
        "length": {"frames_per_token": 30, "extra_frames": 0},
    }
    config = parse_lm_config(PUBLISHED | own, "config.json")
    assert config.streams == Streams((48, 20), 62.5)
    assert (config.frames_per_step, config.length) == (2, LengthSettings(30.0, 0))
    written = json.loads(json.dumps(config.to_json()))
    assert {key: written[key] for key in own} == own
    assert parse_lm_config(written, "config.json") == config


def test_facodecs_streams_are_not_written() -> None:
    config = parse_lm_config(PUBLISHED, "config.json")
    assert config.streams == FACODEC
    assert not {"streams", "length"} & config.to_json().keys()


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"streams": {"sizes": [48, 20]}}, "'streams': key 'frames_per_second' is missing"),
        ({"streams": [48, 20]}, "'streams': must be an object"),
        ({"streams": {"sizes": [0], "frames_per_second": 5}}, "'streams': a stream has 1 to"),
        (
            {"streams": {"sizes": [9] * 4, "frames_per_second": 5}},
            "'medusa_num_heads' must be 1 or a multiple of 4 up to 48, not 6",
        ),
        ({"length": {"extra_frames": 2}}, "in 'length': 'frames_per_token' is missing"),
        ({"length": {"frames_per_token": 2}}, "in 'length': 'extra_frames' is missing"),
        ({"length": {"frames_per_token": 0, "extra_frames": 2}}, "above 0"),
        ({"length": {"frames_per_token": 1e5, "extra_frames": 2}}, "must be at most 10000"),
    ],
)
def test_bad_streams_and_lengths_are_named(own: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=f"^here: .*{named}"):
        parse_lm_config(PUBLISHED | own, "here")


def test_plain_qwen2_is_next_token_prediction() -> None:
    speech = ("medusa", "head_", "spk_", "model_max")
    plain = {key: value for key, value in PUBLISHED.items() if not key.startswith(speech)}
    config = parse_lm_config(plain, "config.json")
    assert (config.kind, config.heads, config.spk_aware) == ("ntp", 1, False)
    with pytest.raises(ValueError, match="not a whole frame"):
        _ = config.frames_per_step


def test_transformers_5_rope_parameters() -> None:
    values = {k: v for k, v in PUBLISHED.items() if not k.startswith("rope")}
    values["rope_parameters"] = {"rope_type": "default", "rope_theta": 5e5}
    assert parse_lm_config(values, "c").rope_theta == 5e5


def without_rope() -> dict[str, Any]:
    return {key: value for key, value in PUBLISHED.items() if not key.startswith("rope")}


@pytest.mark.parametrize(
    ("rope", "theta"),
    [
        ({}, 1e4),
        ({"rope_theta": 7}, 7.0),
        ({"rope_parameters": {}}, 1e4),
        ({"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 5e5}, 5e5),
        ({"rope_scaling": {"type": "default", "rope_theta": 5e5}}, 5e5),
        ({"rope_parameters": {"rope_theta": 5e5, "partial_rotary_factor": 1.0}}, 5e5),
        ({"rope_parameters": {"full_attention": {"rope_theta": 5e5}}}, 5e5),
        (
            {
                "layer_types": ["full_attention"] * 24,
                "rope_parameters": {
                    "full_attention": {"rope_type": "default", "rope_theta": 5e5},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                },
            },
            5e5,
        ),
    ],
)
def test_the_base_of_rotary_positions(rope: dict[str, Any], theta: float) -> None:
    assert parse_lm_config(without_rope() | rope, "c").rope_theta == theta


@pytest.mark.parametrize(
    ("rope", "named"),
    [
        ({"rope_theta": 1e6, "rope_parameters": {"rope_theta": 1e4}}, "'rope_theta' has two val"),
        ({"rope_parameters": {"rope_theta": 0}}, "in 'rope_parameters': 'rope_theta' must be"),
        ({"rope_parameters": {"sliding_attention": {"rope_theta": 5}}}, "layers of sliding_att"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "'yarn' RoPE scaling"),
        ({"rope_parameters": {"full_attention": {}, "rope_theta": 5.0}}, "must be an object"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "'llama3' RoPE scaling"),
        ({"rope_scaling": {"factor": 4.0}}, "has 'factor', but no 'rope_type' that uses it"),
        ({"rope_scaling": {"mrope_section": [16, 24, 24]}}, "has 'mrope_section'"),
        ({"rope_scaling": "linear"}, "'rope_scaling' must be an object"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "'partial_rotary_factor' must be 1"),
        ({"partial_rotary_factor": 0.5}, "'partial_rotary_factor' must be 1"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "'sliding_attention'; only"),
        ({"layer_types": 24}, "'layer_types' must be a list of strings"),
        ({"quantization_config": {"quant_method": "gptq"}}, "from before quantization"),
    ],
)
def test_rotary_positions_that_are_not_plain_are_refused(rope: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named) as refusal:
        parse_lm_config(without_rope() | rope, "config.json")
    assert str(refusal.value).startswith("config.json")
    assert "\n" not in str(refusal.value)


def test_a_mark_of_windows_editors_is_no_fault(tmp_path: Path) -> None:
    content = json.dumps(PUBLISHED).encode()
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert read_lm_config(tmp_path) == parse_lm_config(PUBLISHED, "c")


@pytest.mark.parametrize("with_config", [False, True])
def test_an_adapter_is_named_with_what_to_do(tmp_path: Path, with_config: bool) -> None:
    if with_config:
        (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    adapter = {"base_model_name_or_path": "my/base", "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(
        UserError, match=r"LoRA adapter of my/base.*merge_and_unload\(\)"
    ) as refusal:
        read_lm_config(tmp_path)
    assert "\n" not in str(refusal.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = parse_lm_config(PUBLISHED, "c")
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    assert read_lm_config(tmp_path) == config
    single = dataclasses.replace(config, medusa_num_heads=1, head_implement="linear")
    (tmp_path / "config.json").write_text(json.dumps(single.to_json()))
    assert read_lm_config(tmp_path) == single


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": None}, "'hidden_size' is missing"),
        ({"hidden_size": "896"}, "'hidden_size'"),
        ({"hidden_size": 900}, "'hidden_size' must be a multiple"),
        ({"num_key_value_heads": 3}, "'num_key_value_heads'"),
        ({"num_hidden_layers": True}, "'num_hidden_layers'"),
        ({"medusa_num_heads": 4}, "'medusa_num_heads' must be 1 or a multiple of 3"),
        ({"head_implement": "conv"}, "linear, mlp, transformer"),
        ({"model_type": "llama"}, "'model_type' must be one of qwen2"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "'yarn' RoPE scaling"),
        ({"rope_parameters": {"rope_type": "linear"}}, "'linear' RoPE scaling"),
        ({"use_sliding_window": True}, "'use_sliding_window'"),
        ({"head_dim": 128}, "'head_dim' must be hidden_size / num_attention_heads = 64"),
        ({"rms_norm_eps": float("nan")}, "'rms_norm_eps'"),
        ({"spk_aware": "yes"}, "'spk_aware' must be true or false"),
        ({"text_frontend": {"kind": "espeak"}}, "one of none, hibari"),
        ({"prompts": {"tts": "no place for words<sosp>"}}, "'tts' must hold {text} once"),
        ({"prompts": {"tts": "{text}{answer}<sosp>"}}, "'tts' must hold {text} once"),
        (
            {"prompts": {"chat": "{answer}{question}<sosp>"}},
            "'chat' must hold {question} and then {answer} once",
        ),
        (
            {"prompts": {"chat_speaker": "{question}{answer}"}},
            "'chat_speaker' must hold {question} and then {answer} once and end in <sosp>",
        ),
        ({"prompts": {"tts": "{text}"}}, "end in <sosp>"),
        ({"sampling": {"top_p": 1.5}}, "'top_p' must be at most 1"),
        ({"sampling": {"top_k": 0}}, "'top_k' must be a whole number of at least 1"),
        ({"sampling": {"repetition_penalty": 0.5}}, "'repetition_penalty' must be at least 1"),
        ({"sampling": {"repetition_penalty": 101}}, "'repetition_penalty' must be at least 1"),
        ({"sampling": {"temperature": 0.001}}, "'temperature' must lie between 0.01 and 100"),
    ],
)
def test_faults_name_file_and_key(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError) as fault:
        parse_lm_config(PUBLISHED | change, "dir/config.json")
    assert str(fault.value).startswith("dir/config.json: ")
    assert named in str(fault.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000])
def test_files_that_are_no_config(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json"):
        read_lm_config(tmp_path)


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        read_lm_config(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(key=st.sampled_from([*PUBLISHED, "prompts", "sampling", "text_frontend"]), value=json_values)
def test_any_value_is_accepted_or_refused_politely(key: str, value: Any) -> None:
    message = "c: accepted"
    try:
        parse_lm_config(PUBLISHED | {key: value}, "c")
    except UserError as fault:
        message = str(fault)
    assert message.startswith("c: ")
