"""Examples against streams and masks written out by hand; batches of similar length."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from commands.errors import UserError
from formats.checkpoint.language_model_config import LanguageModelConfig, TextFrontend
from formats.checkpoint.prompts import PromptTemplates
from formats.checkpoint.tokenizer import SpeechTokens, build_phoneme_tokenizer, read_speech_tokens
from formats.tokens import TokenizedUtterance, write_utterances
from tests.tiny_models import CHARACTERS, tiny_config
from train.data.examples import Example, ExampleBuilder, collate
from train.language_model_training.batches import LengthSortedBatches, SourceRange
from train.language_model_training.dataset import read_dialogues, read_examples

FRAMES = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
PHONEMES = PromptTemplates("{text}<sosp>", "{text}<|placeholder|><sosp>", "")


def builder_for(
    heads: int, prompts: PromptTemplates | None = None, **options: bool
) -> tuple[ExampleBuilder, SpeechTokens]:
    tokenizer = build_phoneme_tokenizer([CHARACTERS, "ˈa"], mtp=heads > 1)
    config = tiny_config(heads)
    if prompts is not None:
        config = dataclasses.replace(
            config, prompts=prompts, text_frontend=TextFrontend("hibari", "en-us")
        )
    tokens = read_speech_tokens(tokenizer, "test")
    return ExampleBuilder(config, tokenizer, tokens, **options), tokens


def test_streams_of_six_heads() -> None:
    """Three frames make two steps of two; the second is filled up, then all heads end."""
    builder, tokens = builder_for(6)
    example = builder.tts(TokenizedUtterance("u", " HI. ", FRAMES))
    a, b, c = tokens.codes
    pad, end = tokens.pad, tokens.end
    steps = [
        [a[1], b[2], c[3], a[4], b[5], c[6]],
        [a[7], b[8], c[9], pad, pad, pad],
        [end] * 6,
    ]
    assert example.token_ids[example.speech_mask].tolist() == steps
    first = int(example.speech_mask.argmax())
    assert (example.token_ids[first - 1] == tokens.start).all()
    assert (example.token_ids[0] == tokens.bos).all()
    assert (example.token_ids[-1] == tokens.eos).all()
    assert len(example) == first + 3 + 3  # steps, then the tail `.`, newlines (one token), eos


def test_question_is_masked_up_to_the_answer_mark() -> None:
    builder, _ = builder_for(3)
    example = builder.tts(TokenizedUtterance("u", "Hi", FRAMES))
    spelt = len("[Human]: Read this sentence: Hi.\n [Assistant]:")
    asked = 1 + spelt - (len("[Human]") - 1) - (len("[Assistant]") - 1)
    assert not example.loss_mask[:asked].any()
    assert example.loss_mask[asked:].all()


def test_interleaved_stream_of_next_token_prediction() -> None:
    builder, tokens = builder_for(1)
    example = builder.tts(TokenizedUtterance("u", "Hi", FRAMES))
    a, b, c = tokens.codes
    expected = [a[1], b[2], c[3], a[4], b[5], c[6], a[7], b[8], c[9], tokens.end]
    assert example.token_ids[example.speech_mask, 0].tolist() == expected


def test_asr_learns_the_text_only() -> None:
    builder, _ = builder_for(3)
    example = builder.asr(TokenizedUtterance("u", "Hi", FRAMES))
    assert not (example.loss_mask & example.speech_mask).any()
    assert example.loss_mask.sum() == len(" The text is: Hi.\n") + 1


CHAT = PromptTemplates(chat="[Human]{question}[Assistant]{answer}<sosp>", tail="")


def test_chat_learns_the_answer_written_and_spoken() -> None:
    builder, tokens = builder_for(3)
    utterance = TokenizedUtterance("u", "To HIM.", FRAMES, question="who?")
    example = builder.chat(utterance)
    asked = 1 + len("[Human]: who?\n [Assistant]:") - len("Human]") - len("Assistant]")
    assert example.token_ids[:asked, 0].tolist()[0] == tokens.bos
    assert not example.loss_mask[:asked].any()
    assert example.loss_mask[asked:].all()
    first = int(example.speech_mask.argmax())
    assert first == asked + len(" To HIM. The speech is: ") + 1
    assert (example.token_ids[first - 1] == tokens.start).all()
    assert example.token_ids[example.speech_mask].tolist()[0] == [
        book[code] for book, code in zip(tokens.codes, FRAMES[0], strict=True)
    ]
    with pytest.raises(UserError, match="u: the task 'chat' needs the key 'question'"):
        builder.chat(TokenizedUtterance("u", "To him.", FRAMES))


def test_guide_of_a_chat_points_into_the_answer() -> None:
    """The question holds the same letters; the answer's stand behind bos, two marks and `ab`."""
    config = dataclasses.replace(tiny_config(6), prompts=CHAT)
    tokenizer = build_phoneme_tokenizer([CHARACTERS], mtp=True)
    builder = ExampleBuilder(
        config, tokenizer, read_speech_tokens(tokenizer, "test"), with_tail=False, guided=True
    )
    utterance = TokenizedUtterance(
        "u", "ba", np.zeros((5, 3), int), symbol_frames=(1, 1, 2, 1), question="ab"
    )
    guide = builder.chat(utterance).guide
    assert guide is not None
    # frames 0-1 are b, 2-4 a; the steps' middle frames are 1 3 5, and past the end for <eosp>
    assert guide.tolist() == [-1] * 7 + [5, 6, 6, 6] + [-1] * (len(guide) - 11)


def test_text_example_has_no_speech() -> None:
    builder, tokens = builder_for(3)
    example = builder.text("ab", "cde")
    assert not example.speech_mask.any()
    assert example.loss_mask.sum() == len(" cde\n") + 1
    assert (example.token_ids == example.token_ids[:, :1]).all()
    assert example.token_ids[-1, 0] == tokens.eos


def test_phonemes_stay_and_no_tail() -> None:
    builder, tokens = builder_for(3, PHONEMES, with_tail=False)
    example = builder.tts(TokenizedUtterance("u", "OˈaB", FRAMES))
    assert len(example) == 1 + 3 + 1 + 4
    assert (example.token_ids[-1] == tokens.end).all()


@pytest.mark.parametrize("silences", [False, True])
def test_guide_points_at_the_symbol_spoken(silences: bool) -> None:
    """`bˈac`: the stress mark belongs to `a`, so symbols stand at positions 1, 2, 3."""
    builder, _ = builder_for(6, PHONEMES, with_tail=False, guided=True)
    counts = (1, 2, 1, 1, 2, 2) if silences else (3, 1, 1, 4)
    utterance = TokenizedUtterance("u", "bˈac", np.zeros((9, 3), int), symbol_frames=counts)
    guide = builder.tts(utterance).guide
    assert guide is not None
    # frames 0-2 are b, 3-4 a, 5-8 c; the steps' middle frames are 1 3 5 7 8, and 8 for <eosp>
    assert guide.tolist() == [-1, -1, -1, -1, 1, 2, 3, 3, 3, 3, -1][: len(guide)]
    assert guide[4] == 1
    with pytest.raises(UserError, match="u: 2 'symbol_frames' for 4 characters"):
        builder.tts(TokenizedUtterance("u", "bˈac", np.zeros((9, 3), int), symbol_frames=(4, 5)))
    assert builder.tts(TokenizedUtterance("u", "bˈac", np.zeros((9, 3), int))).guide is None


def test_collate_pads_on_the_right() -> None:
    builder, tokens = builder_for(3)
    examples = [builder.tts(TokenizedUtterance("u", text, FRAMES)) for text in ("Hi", "Hello you")]
    batch = collate(examples, tokens.eos)
    assert batch["token_ids"].shape == (2, len(examples[1]), 3)
    assert batch["token_ids"].dtype == torch.int64
    assert (batch["token_ids"][0, len(examples[0]) :] == tokens.eos).all()
    assert not batch["loss_mask"][0, len(examples[0]) :].any()
    assert "speaker" not in batch
    assert "guide" not in batch


def speaker_config() -> LanguageModelConfig:
    return tiny_config(3, speaker_aware=True)


def test_speaker_embeddings_are_read_and_checked(tmp_path: Path) -> None:
    tokenizer = build_phoneme_tokenizer([CHARACTERS], mtp=True)
    tokens = read_speech_tokens(tokenizer, "test")
    builder = ExampleBuilder(speaker_config(), tokenizer, tokens)
    path = tmp_path / "h3.jsonl"
    utterance = TokenizedUtterance("u", "Hi", FRAMES, spk_emb_path="s.safetensors")
    write_utterances(path, [utterance], 3)
    embedding = np.arange(256, dtype=np.float32)
    save_file({"speaker": embedding}, tmp_path / "s.safetensors")
    (example,) = read_examples(path, "tts", builder, speaker_config(), tmp_path)
    np.testing.assert_array_equal(example.speaker, embedding)
    assert (example.token_ids == tokens.placeholder).any()
    write_utterances(path, [dataclasses.replace(utterance, spk_emb_path="t.safetensors")], 3)
    save_file({"speaker": embedding[:9]}, tmp_path / "t.safetensors")
    with pytest.raises(UserError, match="256 finite numbers"):
        read_examples(path, "tts", builder, speaker_config(), tmp_path)
    (tmp_path / "t.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="not a safetensors file"):
        read_examples(path, "tts", builder, speaker_config(), tmp_path)
    write_utterances(path, [TokenizedUtterance("u", "Hi", FRAMES)], 3)
    with pytest.raises(UserError, match="needs 'spk_emb_path'"):
        read_examples(path, "tts", builder, speaker_config(), tmp_path)


def test_dialogue_faults_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text('{"instruction": "a", "response": "b"}\n{"instruction": 3}\n')
    with pytest.raises(UserError, match="line 2: needs the strings"):
        list(read_dialogues(path))


def test_too_long_examples_are_left_out(tmp_path: Path) -> None:
    builder, _ = builder_for(3)
    short = dataclasses.replace(tiny_config(3), model_max_length=60)
    path = tmp_path / "h3.jsonl"
    long = np.zeros((90, 3), int)
    write_utterances(
        path, [TokenizedUtterance("u", "Hi", FRAMES), TokenizedUtterance("v", "Hi", long)], 3
    )
    assert len(read_examples(path, "tts", builder, short, tmp_path)) == 1
    write_utterances(path, [TokenizedUtterance("v", "Hi", long)], 3)
    with pytest.raises(UserError, match="no example of at most 60"):
        read_examples(path, "tts", builder, short, tmp_path)


def test_utterances_are_chosen_by_their_length(tmp_path: Path) -> None:
    builder, _ = builder_for(3)
    path = tmp_path / "h3.jsonl"
    frames = [np.zeros((count, 3), int) for count in (79, 80, 159, 160)]
    write_utterances(path, [TokenizedUtterance("u", "Hi", each) for each in frames], 3)

    def steps(shortest: float, longest: float) -> list[int]:
        seconds = (shortest, longest)
        found = read_examples(path, "tts", builder, tiny_config(3), tmp_path, seconds)
        return [int(example.speech_mask.sum()) - 1 for example in found]  # without the end

    assert steps(0.0, math.inf) == [79, 80, 159, 160]
    assert steps(1.0, 2.0) == [80, 159]
    assert steps(2.0, math.inf) == [160]
    with pytest.raises(UserError, match=r"no example of .* and 3 to 4 seconds"):
        steps(3.0, 4.0)


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=80),
    positions=st.integers(20, 300),
    seed=st.integers(0, 5),
)
def test_batches_hold_every_example_once(lengths: list[int], positions: int, seed: int) -> None:
    batches = LengthSortedBatches(lengths, [SourceRange(0, len(lengths))], positions, seed)
    for epoch in range(3):
        batches.set_epoch(epoch)
        drawn = list(batches)
        assert len(drawn) == len(batches)
        assert sorted(index for batch in drawn for index in batch) == list(range(len(lengths)))
        again = LengthSortedBatches(lengths, [SourceRange(0, len(lengths))], positions, seed)
        again.set_epoch(epoch)
        assert list(again) == drawn


def test_batches_are_within_budget_and_differ_between_epochs() -> None:
    lengths = np.random.default_rng(0).integers(10, 200, 400).tolist()
    batches = LengthSortedBatches(lengths, [SourceRange(0, 400)], 1000, 0)
    first = list(batches)
    positions = [len(batch) * max(lengths[i] for i in batch) for batch in first]
    assert max(positions) < 1400  # the jitter of lengths may exceed the budget a little
    assert np.mean(positions) > 750
    batches.set_epoch(1)
    assert list(batches) != first


def test_shares_and_processes() -> None:
    sources = [SourceRange(0, 100), SourceRange(100, 200, 0.25)]
    batches = LengthSortedBatches([10] * 200, sources, 50, 0, processes=4)
    assert len(batches) == 24
    drawn = [index for batch in batches for index in batch]
    assert 15 <= sum(index >= 100 for index in drawn) <= 25


def test_example_length_is_its_positions() -> None:
    empty = np.zeros(5, bool)
    assert len(Example(np.zeros((5, 3), np.int32), empty, empty)) == 5


def test_blank_lines_of_dialogues_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text('\ufeff\n{"instruction": "a?", "response": "b\u2028c."}\n\n', encoding="utf-8")
    assert list(read_dialogues(path)) == [("a?", "b\u2028c.")]
