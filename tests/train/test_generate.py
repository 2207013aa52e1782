"""Reference decoding: cached equals uncached, and the rules of the paper's decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from formats.checkpoint.tokenizer import build_phoneme_tokenizer, read_speech_tokens
from formats.streams import FACODEC, Streams
from tests.tiny_models import make_lm_checkpoint
from train.language_model.checkpoint import Checkpoint, load_checkpoint
from train.language_model.generate import (
    DecodingOptions,
    first_pad_frame,
    generate_frames,
    nucleus,
    penalize,
)
from train.language_model.mtp import MtpModel
from train.language_model.ntp import NtpModel

TEXT = "Know it."


def prompt_ids(checkpoint: Checkpoint) -> list[int]:
    prompt = checkpoint.config.prompts.prompt(TEXT, with_speaker=checkpoint.config.spk_aware)
    ids = checkpoint.tokenizer.encode(prompt, add_special_tokens=False).ids
    return [checkpoint.tokens.bos, *ids]


@torch.no_grad()
def uncached_steps(model: MtpModel, prompt: list[int], steps: int) -> list[list[int]]:
    """Greedy local tokens of every step, everything computed anew each time."""
    heads, streams = len(model.heads), len(model.tokens.codes)
    ids = torch.tensor(prompt)[None, :, None].repeat(1, 1, heads)
    mask = torch.zeros(1, len(prompt), dtype=torch.bool)
    chosen = []
    for _ in range(steps):
        hidden = model.hidden_states(model.embed(ids, mask))
        local = [int(scores[0, -1].argmax()) for scores in model.head_scores(hidden)]
        if any(code == model.tokens.end_code(head) for head, code in enumerate(local)):
            break
        chosen.append(local)
        step = [int(h.small_to_orig[t]) for h, t in zip(model.heads, local, strict=True)]
        kept = streams * first_pad_frame(model.tokens, local)
        step[kept:] = [model.tokens.pad or 0] * (heads - kept)
        ids = torch.cat([ids, torch.tensor([[step]])], 1)
        mask = torch.cat([mask, torch.ones(1, 1, dtype=torch.bool)], 1)
    return chosen


OTHER = Streams((48, 20), 62.5)


@pytest.mark.parametrize("kind", ["linear", "mlp", "transformer"])
@pytest.mark.parametrize("pad_bias", [0.0, 9.0])
@pytest.mark.parametrize("streams", [FACODEC, OTHER])
def test_cached_equals_uncached(
    tmp_path: Path, kind: str, pad_bias: float, streams: Streams
) -> None:
    heads, count = 2 * streams.count, streams.count
    end_bias = 0.0 if streams == FACODEC else -9.0  # small streams would end at once
    checkpoint = load_checkpoint(
        make_lm_checkpoint(
            tmp_path, heads, kind, pad_bias=pad_bias, end_bias=end_bias, streams=streams
        )
    )
    model = checkpoint.model
    assert isinstance(model, MtpModel)
    prompt = prompt_ids(checkpoint)
    steps = uncached_steps(model, prompt, 12)
    assert len(steps) > 3
    expected = [
        step[count * g : count * (g + 1)]
        for step in steps
        for g in range(first_pad_frame(model.tokens, step))
    ]
    found = generate_frames(model, prompt, options=DecodingOptions(max_steps=len(steps)))
    assert found.frames.tolist() == expected
    if pad_bias:
        assert len(expected) < 2 * len(steps)


@pytest.mark.parametrize("streams", [FACODEC, OTHER])
@torch.no_grad()
def test_ntp_cached_equals_uncached(tmp_path: Path, streams: Streams) -> None:
    checkpoint = load_checkpoint(make_lm_checkpoint(tmp_path, 1, streams=streams))
    model = checkpoint.model
    assert isinstance(model, NtpModel)
    ids = prompt_ids(checkpoint)
    codes = []
    for step in range(12):
        allowed = torch.tensor([*model.tokens.codes[step % streams.count], model.tokens.end])
        scores = model.lm_model(input_ids=torch.tensor([ids])).logits[0, -1, allowed]
        codes.append(int(scores.argmax()))
        assert allowed[codes[-1]] != model.tokens.end
        ids.append(int(allowed[codes[-1]]))
    prompt = prompt_ids(checkpoint)
    found = generate_frames(model, prompt, options=DecodingOptions(max_steps=12))
    assert found.frames.flatten().tolist() == codes
    assert not found.finished
    cut = generate_frames(model, prompt, options=DecodingOptions(max_steps=11))
    assert cut.frames.shape == (11 // streams.count, streams.count)


def test_end_stops_and_drops_its_step(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(make_lm_checkpoint(tmp_path, 3, end_bias=1e3))
    found = generate_frames(checkpoint.model, prompt_ids(checkpoint))
    assert (found.frames.shape, found.steps, found.finished) == ((0, 3), 1, True)


def test_first_pad_frame() -> None:
    tokens = read_speech_tokens(build_phoneme_tokenizer(["a"], mtp=True), "test")
    codes, pad = list(range(12)), 1025
    assert first_pad_frame(tokens, codes) == 4
    assert first_pad_frame(tokens, [*codes[:8], pad, *codes[9:]]) == 2
    assert first_pad_frame(tokens, [*codes[:6], *[pad] * 6]) == 2


def test_the_pad_of_a_small_stream_is_a_code_of_a_large_one() -> None:
    tokenizer = build_phoneme_tokenizer(["a"], mtp=True, streams=OTHER)
    tokens = read_speech_tokens(tokenizer, "test", OTHER)
    assert first_pad_frame(tokens, [21, 3, 21, 3]) == 2
    assert first_pad_frame(tokens, [21, 3, 21, 21]) == 1
    assert first_pad_frame(tokens, [21, 3, 49, 3]) == 1


def test_sampling_is_reproducible(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(make_lm_checkpoint(tmp_path, 3))
    prompt = prompt_ids(checkpoint)

    def sample(seed: int) -> list[list[int]]:
        options = DecodingOptions(do_sample=True, temperature=2.0, seed=seed, max_steps=8)
        return generate_frames(checkpoint.model, prompt, options=options).frames.tolist()

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_penalty_by_hand() -> None:
    scores = torch.tensor([2.0, -2.0, 3.0])
    assert penalize(scores, [0, 1, 0], 2.0).tolist() == [1.0, -4.0, 3.0]
    assert scores.tolist() == [2.0, -2.0, 3.0]


def test_nucleus_by_hand() -> None:
    scores = torch.log(torch.tensor([0.1, 0.5, 0.3, 0.1]))
    torch.testing.assert_close(nucleus(scores, 0, 0.6), torch.tensor([0, 0.625, 0.375, 0]))
    torch.testing.assert_close(nucleus(scores, 1, 1.0), torch.tensor([0.0, 1, 0, 0]))
    torch.testing.assert_close(nucleus(scores, 0, 0.01), torch.tensor([0.0, 1, 0, 0]))
    torch.testing.assert_close(nucleus(scores, 99, 1.0), torch.tensor([0.1, 0.5, 0.3, 0.1]))
