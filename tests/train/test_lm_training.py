"""`python -m train.lm` from settings to checkpoint, on tiny data: learns, resumes exactly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from formats.checkpoint.codec_config import CodecConfig
from formats.checkpoint.language_model_config import LengthSettings
from formats.tokens import TokenizedUtterance, read_utterances, write_utterances
from tests.tiny_models import make_lm_checkpoint
from train.language_model.checkpoint import load_checkpoint
from train.language_model.generate import DecodingOptions, answer_question, generate_frames
from train.language_model.mtp import MtpModel
from train.language_model_training.dataset import load_data
from train.language_model_training.initialization import build_model
from train.language_model_training.run import make_tokenizer
from train.language_model_training.settings import read_settings
from train.lm import main

MODEL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 112,
    "layers": 2,
    "attention_heads": 4,
    "key_value_heads": 2,
    "max_length": 512,
}


def write_data(path: Path, heads: int, count: int = 24) -> Path:
    """Utterances whose codes follow from the text: every letter has its own three codes."""
    random = np.random.default_rng(0)
    utterances = []
    for index in range(count):
        letters = random.integers(0, 5, 6)
        counts = random.integers(1, 4, 6)
        frames = np.repeat(letters[:, None] * [1, 2, 3] + 10, counts, axis=0)
        text = "".join("abcde"[letter] for letter in letters)
        utterances.append(
            TokenizedUtterance(f"u{index}", text, frames, symbol_frames=tuple(counts.tolist()))
        )
    write_utterances(path, utterances, heads)
    return path


def write_settings(
    folder: Path, heads: int, model: dict[str, Any] | None = None, **run: Any
) -> Path:
    settings: dict[str, Any] = {
        "model": {"heads": heads} | MODEL | (model or {}),
        "data": {
            "train": [{"file": str(write_data(folder / f"h{heads}.jsonl", heads))}],
            "validation_examples": 4,
        },
        "max_steps": 8,
        "positions_per_batch": 400,
        "log_every": 1,
        "evaluate_every": 4,
        "save_every": 4,
        "optimizer": {"kind": "muon", "learning_rate": 0.01, "warmup_steps": 2},
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings | run))
    return path


def run(settings: Path, output: Path, *more: str) -> None:
    assert main(["--config", str(settings), "--output", str(output), *more]) == 0


def history(output: Path, step: int = 8) -> list[dict[str, float]]:
    state = output / "run" / f"checkpoint-{step}" / "trainer_state.json"
    return json.loads(state.read_text())["log_history"]


@pytest.mark.parametrize("heads", [1, 3, 6, 12])
def test_training_lowers_the_loss(tmp_path: Path, heads: int) -> None:
    settings = write_settings(tmp_path, heads, text_weight=0.0, speech_weight=1.0)
    run(settings, tmp_path / "out")
    losses = [entry["loss"] for entry in history(tmp_path / "out") if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    figures = [entry for entry in history(tmp_path / "out") if "eval_loss" in entry]
    assert figures[-1]["eval_loss"] < figures[0]["eval_loss"]
    last = "token" if heads == 1 else f"c{heads // 3}"
    assert 0 <= figures[-1][f"eval_{last}_top1"] <= 1
    assert figures[-1][f"eval_{last}_perplexity"] > 1
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.config.heads == heads
    options = DecodingOptions(max_steps=3)
    generate_frames(checkpoint.model, [checkpoint.tokens.start], options=options)


EVERYTHING: dict[str, Any] = {
    "history_corruption": 0.5,
    "average_decay": 0.9,
    "gradient_accumulation": 2,
    "guided_attention": {"layers": [0, 1], "heads": 2, "weight": 1.0},
    "positions_per_batch": 150,
}


@pytest.mark.parametrize(("chosen", "taken"), [({"threads": 3}, 3), ({}, 2)])
def test_threads_are_as_many_as_the_settings_say(
    tmp_path: Path, chosen: dict[str, Any], taken: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(write_settings(tmp_path, 3, max_steps=1, **chosen), tmp_path / "out")
        assert torch.get_num_threads() == taken
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", ["linear", "transformer"])
def test_resumed_equals_uninterrupted(tmp_path: Path, kind: str) -> None:
    """Same losses and same weights, with everything random turned on."""
    phonemes = {"tts": "{text}<sosp>", "tts_speaker": "{text}<|placeholder|><sosp>", "tail": ""}
    model = {"head_kind": kind, "prompts": phonemes, "text_frontend": {"kind": "hibari"}}
    noise = "predicted" if kind == "linear" else "random"
    settings = write_settings(tmp_path, 3, model, **EVERYTHING, history_noise=noise)
    run(settings, tmp_path / "whole")
    whole = history(tmp_path / "whole")
    run(settings, tmp_path / "cut")
    interrupted = tmp_path / "cut" / "run" / "checkpoint-8"
    for path in interrupted.iterdir():  # as if the run had ended after step 4
        path.unlink()
    interrupted.rmdir()
    run(settings, tmp_path / "cut", "--resume")
    keys = ("loss", "speech_loss", "text_loss", "attention_loss", "learning_rate", "eval_loss")
    for one, two in zip(whole, history(tmp_path / "cut"), strict=True):
        assert {k: one[k] for k in keys if k in one} == {k: two[k] for k in keys if k in two}
    first = load_file(tmp_path / "whole" / "model.safetensors")
    second = load_file(tmp_path / "cut" / "model.safetensors")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_resumed_run_saves_as_often_as_its_settings_say(tmp_path: Path) -> None:
    run(write_settings(tmp_path, 3), tmp_path / "out")
    changed: dict[str, Any] = {
        "save_every": 2,
        "evaluate_every": 3,
        "max_steps": 12,
        "checkpoints_kept": 9,
    }
    run(write_settings(tmp_path, 3, **changed), tmp_path / "out", "--resume")
    steps = {path.name for path in (tmp_path / "out" / "run").glob("checkpoint-*")}
    assert steps == {f"checkpoint-{step}" for step in (4, 8, 10, 12)}
    evaluated = [log["step"] for log in history(tmp_path / "out", 12) if "eval_loss" in log]
    assert evaluated == [4, 8, 9, 12]


def test_long_and_short_utterances_are_sources_of_their_own(tmp_path: Path) -> None:
    file = str(write_data(tmp_path / "h3.jsonl", 3))
    long, short = {"file": file, "min_seconds": 0.15}, {"file": file, "max_seconds": 0.15}
    data = {"train": [long, short | {"share": 0.5}], "validation_examples": 2}
    settings = read_settings(write_settings(tmp_path, 3, data=data))
    tokenizer = make_tokenizer(settings)
    loaded = load_data(settings, build_model(settings, tokenizer), tokenizer)
    assert len(loaded.examples) + len(loaded.validation) == 24
    first, second = loaded.sources
    assert min(first.end, second.end - second.begin) > 2
    assert (first.share, second.share) == (1.0, 0.5)
    lengths = [int(example.speech_mask.sum()) - 1 for example in loaded.examples]
    assert min(lengths[: first.end]) >= 12  # frames: 0.15 seconds
    assert max(lengths[first.end :]) < 12


@pytest.mark.parametrize("kind", ["linear", "transformer"])
def test_bfloat16_learns(tmp_path: Path, kind: str) -> None:
    phonemes = {"tts": "{text}<sosp>", "tts_speaker": "{text}<|placeholder|><sosp>", "tail": ""}
    model = {"head_kind": kind, "prompts": phonemes, "text_frontend": {"kind": "hibari"}}
    settings = write_settings(tmp_path, 3, model, precision="bfloat16", **EVERYTHING)
    run(settings, tmp_path / "out")
    losses = [entry["loss"] for entry in history(tmp_path / "out") if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]


def test_mixed_tasks_and_text_loss(tmp_path: Path) -> None:
    dialogues = tmp_path / "text.jsonl"
    dialogues.write_text('{"instruction": "ab?", "response": "cd."}\n' * 8)
    speech = str(write_data(tmp_path / "h3.jsonl", 3))
    data = {
        "train": [
            {"file": speech},
            {"file": speech, "task": "asr", "share": 0.5},
            {"file": str(dialogues), "task": "text"},
        ],
        "validation": [{"file": speech}],
    }
    run(write_settings(tmp_path, 3, data=data), tmp_path / "out")
    entries = history(tmp_path / "out")
    texts = [entry["text_loss"] for entry in entries if "text_loss" in entry]
    assert texts[-1] < texts[0]
    assert any("eval_text_perplexity" in entry for entry in entries)


def test_speaker_aware_with_mixed_tasks(tmp_path: Path) -> None:
    speech = tmp_path / "h3.jsonl"
    frames = np.tile([[10, 20, 30]], (6, 1))
    utterances = [
        TokenizedUtterance(f"u{i}", "abcde"[i % 5], frames, spk_emb_path="s.safetensors")
        for i in range(12)
    ]
    save_file({"speaker": torch.randn(256)}, tmp_path / "s.safetensors")
    data = {
        "train": [{"file": str(speech)}, {"file": str(speech), "task": "asr"}],
        "validation_examples": 2,
    }
    settings = write_settings(tmp_path, 3, {"speaker_aware": True}, data=data)
    write_utterances(speech, utterances, 3)
    run(settings, tmp_path / "out")
    losses = [entry["loss"] for entry in history(tmp_path / "out") if "loss" in entry]
    assert losses[-1] < losses[0]
    assert load_checkpoint(tmp_path / "out").config.spk_aware


@pytest.mark.parametrize("heads", [1, 3])
def test_answers_are_learnt_in_writing(tmp_path: Path, heads: int) -> None:
    """Questions are spelt, too; what was trained writes and speaks."""
    file = tmp_path / "chat.jsonl"
    frames = np.tile([[10, 20, 30]], (6, 1))
    utterances = [
        TokenizedUtterance(f"u{i}", "abcde"[i % 5], frames, question=f"{'zyxwv'[i % 5]}?")
        for i in range(16)
    ]
    data = {"train": [{"file": str(file), "task": "chat"}], "validation_examples": 2}
    prompts = {"chat": "[Human]{question}[Assistant]{answer}<sosp>", "tail": ""}
    settings = write_settings(tmp_path, heads, {"prompts": prompts}, data=data)
    write_utterances(file, utterances, heads)
    run(settings, tmp_path / "out")
    name = "text_loss" if heads > 1 else "loss"
    losses = [entry[name] for entry in history(tmp_path / "out") if name in entry]
    assert losses[-1] < losses[0]
    checkpoint = load_checkpoint(tmp_path / "out")
    spelt = checkpoint.tokenizer.encode("[Human]z?[Assistant]", add_special_tokens=False)
    assert "<unk>" not in spelt.tokens
    tokens, _ = answer_question(
        checkpoint.model, spelt.ids, options=DecodingOptions(max_steps=2), max_tokens=3
    )
    assert 1 <= len(tokens) <= 3


def test_built_tokenizers_spell_the_template(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(read_settings(write_settings(tmp_path, 3)))
    prompt = "[Human]: Read this sentence: Abcde.\n [Assistant]: The speech is: <sosp>"
    spelt = tokenizer.encode(prompt, add_special_tokens=False).tokens
    assert "<unk>" not in spelt
    assert spelt.index("A") < spelt.index("<sosp>")


def test_base_model_grows_by_the_speech_tokens(tmp_path: Path) -> None:
    base = make_lm_checkpoint(tmp_path / "base", plain=True)
    settings = write_settings(tmp_path, 6, {"base_model": str(base)}, max_steps=1, evaluate_every=1)
    settings.write_text(
        settings.read_text().replace("learning_rate: 0.01", "learning_rate: 1.0e-9")
    )
    run(settings, tmp_path / "out")
    grown = load_file(tmp_path / "out" / "model.safetensors")
    old = load_file(base / "model.safetensors")
    table = grown["lm_model.model.embed_tokens.weight"]
    stored = old["model.embed_tokens.weight"]
    torch.testing.assert_close(table[: len(stored)], stored, rtol=0, atol=1e-6)
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.tokens.pad is not None
    assert checkpoint.tokens.pad < len(table)
    assert checkpoint.config.num_hidden_layers == 3  # the base model's, not the settings'


@pytest.mark.parametrize("heads", [1, 3, 12])
def test_speech_parts_of_a_base_model_are_kept(tmp_path: Path, heads: int) -> None:
    """Heads as far as both have them, and the speaker projection, which knows no head count."""
    base = make_lm_checkpoint(tmp_path / "base", heads=6, speaker_aware=True)
    chosen = {"heads": heads, "base_model": str(base), "speaker_aware": True, "max_length": 9000}
    settings = read_settings(write_settings(tmp_path, heads, chosen))
    weights = build_model(settings, make_tokenizer(settings)).state_dict()
    stored = load_file(base / "model.safetensors")
    shared = [
        name
        for name, tensor in stored.items()
        if name.startswith(("spk_emb_proj.", "speech_heads."))
        and name.endswith((".weight", ".bias"))
        and name in weights
        and weights[name].shape == tensor.shape
    ]
    assert sum(name.startswith("spk_emb_proj.") for name in shared) == 4
    assert any(name.startswith("speech_heads.") for name in shared) == (heads > 1)
    for name in shared:
        torch.testing.assert_close(weights[name], stored[name], rtol=0, atol=0)


def test_next_token_models_begin_with_tame_scores_on_a_multi_token_base(tmp_path: Path) -> None:
    """A table whose rows are long, as those that are only read may be."""
    base = make_lm_checkpoint(tmp_path / "base", heads=6)
    tensors = load_file(base / "model.safetensors")
    tensors["lm_model.model.embed_tokens.weight"] *= 40
    save_file(tensors, base / "model.safetensors")
    longer = {"base_model": str(base), "max_length": 9000}
    path = write_settings(tmp_path, 1, longer, max_steps=1, evaluate_every=1)
    path.write_text(path.read_text().replace("learning_rate: 0.01", "learning_rate: 1.0e-9"))
    run(path, tmp_path / "out")
    config = load_checkpoint(tmp_path / "out").config
    loss = history(tmp_path / "out", 1)[0]["speech_loss"]
    assert abs(loss - math.log(config.vocab_size)) < 1.5
    assert config.max_position_embeddings == 9000  # no less than what was trained on


def write_codec(folder: Path) -> Path:
    torch.manual_seed(0)
    tensors = {}
    for name in ("0.layers.0", "1.layers.0", "1.layers.1"):
        tensors[f"decoder.quantizer.{name}._codebook.weight"] = torch.randn(1024, 8)
        tensors[f"decoder.quantizer.{name}.out_proj.weight"] = torch.randn(256, 8)
    folder.mkdir()
    save_file(tensors, folder / "codec.safetensors")
    (folder / "codec.json").write_text(CodecConfig().to_json())
    return folder


def test_embeddings_and_heads_start_in_the_codecs_geometry(tmp_path: Path) -> None:
    codec = write_codec(tmp_path / "codec")
    settings = write_settings(tmp_path, 3, {"init_from_codec": str(codec)}, text_weight=0.0)
    chosen = read_settings(settings)
    model = build_model(chosen, make_tokenizer(chosen))
    assert isinstance(model, MtpModel)
    codes = load_file(codec / "codec.safetensors")["decoder.quantizer.1.layers.1._codebook.weight"]
    likeness = torch.nn.functional.normalize(codes, dim=1)
    likeness = likeness @ likeness.t()
    head = model.heads[1].projection.weight[:1024]  # codebook b
    torch.testing.assert_close(head @ head.t(), likeness, rtol=1e-3, atol=1e-4)
    rows = model.embedding.weight[torch.tensor(model.tokens.codes[1])]
    gram = (rows @ rows.t()).flatten()
    assert torch.corrcoef(torch.stack([gram, likeness.flatten()]))[0, 1] > 0.4


def test_a_model_declares_how_long_its_speech_may_be(tmp_path: Path) -> None:
    """Four times the average of the utterances, and two seconds."""
    first = write_settings(tmp_path, 3, max_steps=1)
    run(first, tmp_path / "first")
    utterances = list(read_utterances(tmp_path / "h3.jsonl", 3))
    average = sum(len(u.frames) for u in utterances) / sum(len(u.text) for u in utterances)
    declared = load_checkpoint(tmp_path / "first").config.length
    assert declared == LengthSettings(round(4 * average, 2), 160)
    slow = [replace(u, frames=u.frames.repeat(3, axis=0), symbol_frames=None) for u in utterances]
    for speech, factor in ((slow, 3), (utterances, 1)):
        write_utterances(tmp_path / "other.jsonl", speech, 3)
        data = {"train": [{"file": str(tmp_path / "other.jsonl")}], "validation_examples": 4}
        model = {"heads": 3, "base_model": str(tmp_path / "first"), "max_length": 512}
        path = write_settings(tmp_path, 3, max_steps=1, data=data, model=model)
        run(path, tmp_path / f"after-{factor}")
        bound = load_checkpoint(tmp_path / f"after-{factor}").config.length
        assert bound == LengthSettings(round(4 * factor * average, 2), 160)


def test_a_base_model_keeps_its_larger_bound(tmp_path: Path) -> None:
    base = make_lm_checkpoint(tmp_path / "base", 3)
    config = json.loads((base / "config.json").read_text())
    config["length"] = {"frames_per_token": 99.0, "extra_frames": 7}
    (base / "config.json").write_text(json.dumps(config))
    model = {"heads": 3, "base_model": str(base), "max_length": 2048}
    run(write_settings(tmp_path, 3, max_steps=1, model=model), tmp_path / "out")
    assert load_checkpoint(tmp_path / "out").config.length == LengthSettings(99.0, 7)


def test_minutes_end_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, 3, max_steps=100_000, minutes=0.001)
    run(settings, tmp_path / "out")
    load_checkpoint(tmp_path / "out")
    assert list((tmp_path / "out" / "run").glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_step": 3}, "unknown key 'max_step'; did you mean 'max_steps'?"),
        ({"optimizer": {"kind": "lion"}}, "'kind' must be one of ['adamw', 'muon']"),
        ({"model": {"heads": 4}}, "'heads' must be 1 or a multiple of 3"),
        ({"model": {"heads": 3, "hidden_size": 65, "attention_heads": 4}}, "'hidden_size'"),
        ({"fsdp": True, "average_decay": 0.9}, "'fsdp'"),
        ({"fsdp": True, "optimizer": {"kind": "adamw"}}, "'fsdp' needs CUDA devices"),
        ({"threads": 0}, "'threads' must be at least 1"),
        ({"minutes": 0.0}, "'minutes' must be above 0"),
        ({"history_corruption": 2.0}, "'history_corruption'"),
        ({"history_noise": "predicted"}, "nothing without 'history_corruption'"),
        (
            {"model": {"heads": 1}, "history_noise": "predicted", "history_corruption": 0.5},
            "needs a model of several heads",
        ),
        ({"guided_attention": {"layers": [2]}}, "'layers' must list layers from 0 to 1, not [2]"),
        ({"guided_attention": {"layers": []}}, "'layers' must list layers from 0 to 1, not []"),
        ({"data": {"train": []}}, "names no file"),
        ({"data": {"train": [{"file": "gone.jsonl"}]}}, "gone.jsonl"),
        (
            {"data": {"train": [{"file": "h3.jsonl", "min_seconds": 4, "max_seconds": 4}]}},
            "'min_seconds' must be at least 0 and below 'max_seconds'",
        ),
        (
            {"data": {"train": [{"file": "h3.jsonl", "task": "text", "max_seconds": 4}]}},
            "the task 'text' has none",
        ),
        (
            {"data": {"train": [{"file": "h3.jsonl", "min_seconds": 4}]}},
            "h3.jsonl: holds no example of at most 512 tokens and 4 to inf seconds",
        ),
        ({"model": {"heads": 3, "base_model": "nowhere"}}, "nowhere"),
        ({"model": {"heads": 3, "init_from_codec": "nowhere"}}, "nowhere: no such folder"),
    ],
)
def test_settings_faults_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = write_settings(tmp_path, 3)
    settings.write_text(yaml.safe_dump(yaml.safe_load(settings.read_text()) | change))
    assert main(["--config", str(settings), "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert named in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_a_bundle_or_another_checkpoint_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / name).write_text("{}")
    assert main(["--config", str(write_settings(tmp_path, 3)), "--output", str(output)]) == 2
    assert "exists and is no checkpoint of train.lm (it has no run)" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == [name]


def test_an_existing_run_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = write_settings(tmp_path, 3, max_steps=1, save_every=1)
    arguments = ["--config", str(settings), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--resume"]) == 2
    assert "no training checkpoint" in capsys.readouterr().err
    run(settings, tmp_path / "out")
    settings = write_settings(tmp_path, 3, max_steps=2, save_every=1)
    assert main(arguments) == 2
    assert "its settings are others for max_steps; add --resume" in capsys.readouterr().err
    (tmp_path / "out" / "run" / "inputs.json").unlink()
    assert main(arguments) == 2
    assert "its settings are not noted; add --resume" in capsys.readouterr().err
    run(settings, tmp_path / "out", "--resume")
    assert [entry["step"] for entry in history(tmp_path / "out", 2) if "loss" in entry] == [1, 2]


def test_a_finished_run_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = write_settings(tmp_path, 3, max_steps=1)
    run(settings, tmp_path / "out")
    assert "wrote" in capsys.readouterr().out
    model = tmp_path / "out" / "model.safetensors"
    written = model.stat()
    with caplog.at_level("INFO"):
        run(write_settings(tmp_path, 3, max_steps=1, threads=1), tmp_path / "out")
    assert "is already trained" in caplog.text
    assert "wrote" not in capsys.readouterr().out
    assert model.stat() == written


def test_a_run_that_ended_before_its_result_was_written(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, 3, max_steps=2, average_decay=0.9)
    run(settings, tmp_path / "out")
    model = tmp_path / "out" / "model.safetensors"
    expected = load_file(model)
    model.unlink()
    run(settings, tmp_path / "out")
    found = load_file(model)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert not (tmp_path / "out" / "run" / "checkpoint-3").exists()
