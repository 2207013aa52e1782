"""Training examples: token ids with masks, and batches of them.

In: utterances with speech tokens (formats/tokens.py) or instruction/response pairs, and a
tokenizer. Out: an `Example` of each, and padded tensors of a batch. Ids and masks follow the
published training code. This module knows neither files nor the model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from commands.errors import UserError
from formats.checkpoint.language_model_config import (
    MAX_FRAMES_PER_TOKEN,
    LanguageModelConfig,
    LengthSettings,
)
from formats.checkpoint.prompts import (
    ASR_QUESTION_START,
    asr_answer,
    normalize_text,
    split_question,
    text_dialogue,
)
from formats.checkpoint.tokenizer import SpeechTokens
from formats.streams import Streams
from formats.tokens import TokenizedUtterance
from runtime.text.symbols import HeldSymbols
from train.data.fitted_symbols import fit_utterance

NO_GUIDE = -1
BOUND_BY_AVERAGE = 4.0  # slow speech lasts up to this many times the average
EXTRA_SECONDS = 2.0  # of silence, and for texts of few tokens


@dataclass(frozen=True)
class Example:
    """One sequence of L positions.

    `token_ids` int32 (L, N), a column for each head (a1 b1 c1 a2 …), equal at text positions;
    `speech_mask` and `loss_mask` bool (L,); `speaker` float32 (C,); `guide` int32 (L,) the
    position of the symbol that is spoken in the step after each position, -1 if there is none.
    """

    token_ids: np.ndarray
    speech_mask: np.ndarray
    loss_mask: np.ndarray
    speaker: np.ndarray | None = None
    guide: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True)
class Symbols:
    """The spoken characters: `begin` to `end` (exclusive) of `text`, whose first token stands at
    `first_token` in the sequence."""

    text: str
    begin: int
    end: int
    first_token: int


class Pace:
    """How long speech lasts compared with its text: frames and text tokens of all utterances."""

    def __init__(self) -> None:
        self._frames = self._tokens = 0

    def add(self, frames: int, tokens: int) -> None:
        """Count one utterance."""
        self._frames += frames
        self._tokens += tokens

    def bound(self, streams: Streams) -> LengthSettings | None:
        """The bound on the length of speech; None if there was no speech."""
        if not (self._frames and self._tokens):
            return None
        average = self._frames / self._tokens
        extra = math.ceil(EXTRA_SECONDS * streams.frames_per_second)
        per_token = min(round(BOUND_BY_AVERAGE * average, 2), MAX_FRAMES_PER_TOKEN)
        return LengthSettings(per_token, extra)


class ExampleBuilder:
    """Turns utterances into examples for one model and tokenizer.

    `with_tail` adds the text that follows the speech, which only a loss on text can learn from.
    `guided` adds `guide` to utterances that have `symbol_frames`. `pace` counts the frames and the
    text tokens of all utterances that are spoken from a text.
    """

    def __init__(
        self,
        config: LanguageModelConfig,
        tokenizer: Tokenizer,
        tokens: SpeechTokens,
        *,
        with_tail: bool = True,
        guided: bool = False,
    ) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._symbols = HeldSymbols(tokenizer)
        self._tokens = tokens
        self._with_tail = with_tail
        self._guided = guided
        self._codes = tokens.code_table().astype(np.int32)  # (K, codes of the largest stream)
        self.pace = Pace()

    def tts(self, utterance: TokenizedUtterance, speaker: np.ndarray | None = None) -> Example:
        """Text in, speech out."""
        prompts = self._config.prompts
        utterance = self._written(utterance)
        text = utterance.text
        question, answer = split_question(prompts.prompt(text, with_speaker=self._config.spk_aware))
        prompt = [self._tokens.bos, *self._encode(question)]
        start = len(prompt)
        prompt += self._encode(answer)
        steps = self._steps(utterance.frames)
        self.pace.add(len(utterance.frames), len(self._encode(text)))
        example = self._join(prompt, steps, self._tail(), loss_from=start)
        template = prompts.tts_speaker if self._config.spk_aware else prompts.tts
        begin = template.index("{text}")
        symbols = Symbols(question, begin, begin + len(text), first_token=1)  # bos stands first
        guide = self._guide(example, utterance, symbols)
        return dataclasses.replace(example, speaker=speaker, guide=guide)

    def chat(self, utterance: TokenizedUtterance, speaker: np.ndarray | None = None) -> Example:
        """A question in; its answer out, written and then spoken. Texts stay as they are."""
        if utterance.question is None:
            raise UserError(f"{utterance.uttid}: the task 'chat' needs the key 'question'")
        parts = self._config.prompts.chat_parts(with_speaker=self._config.spk_aware)
        asked = [self._tokens.bos, *self._encode(parts.ask(utterance.question))]
        written = parts.write(utterance.text)
        prompt = asked + self._encode(written)
        steps = self._steps(utterance.frames)
        self.pace.add(len(utterance.frames), len(self._encode(utterance.text)))
        example = self._join(prompt, steps, self._tail(), loss_from=len(asked))
        begin = len(parts.before_answer)
        symbols = Symbols(written, begin, begin + len(utterance.text), first_token=len(asked))
        guide = self._guide(example, utterance, symbols)
        return dataclasses.replace(example, speaker=speaker, guide=guide)

    def asr(self, utterance: TokenizedUtterance) -> Example:
        """Speech in, text out."""
        before = [self._tokens.bos, *self._encode(ASR_QUESTION_START)]
        steps = self._steps(utterance.frames)
        question, answer = split_question(asr_answer(self._written(utterance).text))
        asked = self._encode(question)
        after = [*asked, *self._encode(answer), self._tokens.eos]
        return self._join(before, steps, after, loss_from=len(before) + len(steps) + len(asked))

    def text(self, instruction: str, response: str) -> Example:
        """Text in, text out."""
        question, answer = split_question(text_dialogue(instruction, response))
        before = [self._tokens.bos, *self._encode(question)]
        after = [*self._encode(answer), self._tokens.eos]
        no_steps = np.zeros((0, self._config.heads), np.int32)
        return self._join(before, no_steps, after, loss_from=len(before))

    def _written(self, utterance: TokenizedUtterance) -> TokenizedUtterance:
        """Spelling is normalised as published; phonemes are written as at run time."""
        if self._config.text_frontend.kind == "none":
            return dataclasses.replace(utterance, text=normalize_text(utterance.text))
        return fit_utterance(utterance, self._symbols.holds)

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _tail(self) -> list[int]:
        """The ids after the speech."""
        if not self._with_tail:
            return []
        return [*self._encode(self._config.prompts.tail), self._tokens.eos]

    def _steps(self, frames: np.ndarray) -> np.ndarray:
        """Vocabulary ids (S, N) of the frames (T, K), ended by a step of `<eosp>`."""
        ids = self._codes[np.arange(len(self._codes)), frames].reshape(-1)
        heads = self._config.heads
        missing = -len(ids) % heads
        padded = np.concatenate([ids, np.full(missing, self._tokens.pad or 0, np.int32)])
        end = np.full((1, heads), self._tokens.end, np.int32)
        return np.concatenate([padded.reshape(-1, heads), end])

    def _join(
        self, before: list[int], steps: np.ndarray, after: list[int], loss_from: int
    ) -> Example:
        """Text positions repeat their token in every column."""
        texts = [
            np.repeat(np.array([ids], np.int32).T, self._config.heads, axis=1)
            for ids in (before, after)
        ]
        token_ids = np.concatenate([texts[0], steps, texts[1]]).astype(np.int32)
        positions = np.arange(len(token_ids))
        speech = (positions >= len(before)) & (positions < len(before) + len(steps))
        return Example(token_ids, speech, positions >= loss_from, speaker=self._no_speaker())

    def _no_speaker(self) -> np.ndarray | None:
        """Speaker-aware models get an embedding with every example, used at a placeholder only."""
        config = self._config
        return np.zeros(config.spk_emb_dim, np.float32) if config.spk_aware else None

    def _guide(
        self, example: Example, utterance: TokenizedUtterance, symbols: Symbols
    ) -> np.ndarray | None:
        if not self._guided or utterance.symbol_frames is None:
            return None
        frame_symbols = _frame_symbols(utterance, self._positions(symbols))
        steps = int(example.speech_mask.sum())
        before = int(example.speech_mask.argmax()) - 1  # the position that predicts the first step
        middle = (np.arange(steps) + 0.5) * self._config.heads / len(self._codes)
        middle = np.minimum(middle.astype(np.int64), len(frame_symbols) - 1)
        guide = np.full(len(example), NO_GUIDE, np.int32)
        guide[before : before + steps] = frame_symbols[middle]
        return guide

    def _positions(self, symbols: Symbols) -> np.ndarray:
        """For every character that is spoken, the position of its token in the sequence."""
        positions = np.zeros(len(symbols.text), np.int64)
        encoding = self._tokenizer.encode(symbols.text, add_special_tokens=False)
        for index, (start, stop) in enumerate(encoding.offsets):
            positions[start:stop] = symbols.first_token + index
        return positions[symbols.begin : symbols.end]


def _frame_symbols(utterance: TokenizedUtterance, positions: np.ndarray) -> np.ndarray:
    """Position (T,) of the token spoken in each frame.

    `symbol_frames` counts the frames of every character of the text, with or without a silence
    before the first and after the last; silences belong to their neighbour.
    """
    counts = utterance.symbol_frames
    assert counts is not None, "only utterances with durations are guided"
    if len(counts) == len(positions) + 2:
        positions = np.concatenate([positions[:1], positions, positions[-1:]])
    if len(counts) != len(positions) or not sum(counts):
        raise UserError(
            f"{utterance.uttid}: {len(counts)} 'symbol_frames' for {len(positions)} characters"
        )
    return np.repeat(positions, counts)


def collate(examples: Sequence[Example], padding_id: int) -> dict[str, torch.Tensor]:
    """Pad on the right to the longest example; the keys are what a model's `forward` takes.

    `token_ids` int64 (B, L, N), `speech_mask` and `loss_mask` bool (B, L); where the examples
    have them, `speaker` float32 (B, C) and `guide` int64 (B, L).
    """
    batch = {
        "token_ids": _pad([e.token_ids for e in examples], padding_id).long(),
        "speech_mask": _pad([e.speech_mask for e in examples], False),
        "loss_mask": _pad([e.loss_mask for e in examples], False),
    }
    speakers = [e.speaker for e in examples if e.speaker is not None]
    if len(speakers) == len(examples):
        batch["speaker"] = torch.from_numpy(np.stack(speakers))
    guides = [e.guide if e.guide is not None else np.full(len(e), NO_GUIDE) for e in examples]
    if any(e.guide is not None for e in examples):
        batch["guide"] = _pad(guides, NO_GUIDE).long()
    return batch


def _pad(arrays: Sequence[np.ndarray], value: Any) -> torch.Tensor:
    length = max(len(array) for array in arrays)
    first = arrays[0]
    padded = np.full((len(arrays), length, *first.shape[1:]), value, first.dtype)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)
