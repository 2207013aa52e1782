"""The examples of a run, read from its files: tokens JSONL or dialogues, and stored speakers.

In: the settings of a run, its model and tokenizer. Out: `TrainingData`, the examples that fit into
the model, in the order of the files. train/data/examples.py makes each example.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import formats.speaker_files
from commands.errors import UserError
from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.files.text_files import read_lines
from formats.tokens import TokenizedUtterance, read_utterances
from train.data.examples import Example, ExampleBuilder, Pace
from train.language_model.checkpoint import LanguageModel
from train.language_model_training.batches import SourceRange
from train.language_model_training.settings import LmSettings, SourceSettings


@dataclass(frozen=True)
class TrainingData:
    """The examples of all sources, one source after the other; the range of each source in them;
    and separate examples for validation."""

    examples: list[Example]
    sources: list[SourceRange]
    validation: list[Example]


def load_data(settings: LmSettings, model: LanguageModel, tokenizer: Tokenizer) -> TrainingData:
    """Read all files, and declare in the model how long speech may last.

    Without validation files, the first examples of the first source are kept for validation.
    """
    builder = ExampleBuilder(
        model.geometry,
        tokenizer,
        model.tokens,
        with_tail=settings.text_weight > 0,
        guided=settings.guided_attention is not None,
    )

    def load(source: SourceSettings) -> list[Example]:
        file = Path(source.file)
        speakers = Path(settings.data.speaker_folder or file.parent)
        seconds = (source.min_seconds, source.max_seconds)
        return read_examples(file, source.task, builder, model.geometry, speakers, seconds)

    loaded = [load(source) for source in settings.data.train]
    validation = [example for source in settings.data.validation for example in load(source)]
    if not validation:
        count = settings.data.validation_examples
        if count >= len(loaded[0]):
            raise UserError(f"{settings.data.train[0].file}: holds only {len(loaded[0])} examples")
        validation, loaded[0] = loaded[0][:count], loaded[0][count:]
    _declare_length(model, builder.pace)
    examples = [example for source in loaded for example in source]
    if settings.guided_attention is not None and all(e.guide is None for e in examples):
        raise UserError("guided_attention: no training example has 'symbol_frames'")
    return TrainingData(examples, _ranges(settings, loaded), validation)


def _declare_length(model: LanguageModel, pace: Pace) -> None:
    """Bound the model's speech by its training data. A larger bound of a base model stays."""
    bound, declared = pace.bound(model.geometry.streams), model.geometry.length
    if bound is None:
        return
    if declared is None or declared.frames_per_token < bound.frames_per_token:
        model.geometry = dataclasses.replace(model.geometry, length=bound)


def _ranges(settings: LmSettings, loaded: list[list[Example]]) -> list[SourceRange]:
    ranges, begin = [], 0
    for source, examples in zip(settings.data.train, loaded, strict=True):
        ranges.append(SourceRange(begin, begin + len(examples), source.share))
        begin += len(examples)
    return ranges


def read_dialogues(path: Path) -> Iterator[tuple[str, str]]:
    """Instruction and response of every line of a JSONL file. `UserError` names the line."""
    for number, line in read_lines(Path(path)):
        try:
            values = json.loads(line)
            instruction, response = values["instruction"], values["response"]
        except (ValueError, RecursionError, KeyError, TypeError):
            instruction = response = None
        if not (isinstance(instruction, str) and isinstance(response, str)):
            raise UserError(
                f"{path}, line {number}: needs the strings 'instruction' and 'response'"
            )
        yield instruction, response


def read_examples(
    path: Path,
    task: str,
    builder: ExampleBuilder,
    config: LanguageModelConfig,
    speakers: Path,
    seconds: tuple[float, float] = (0.0, math.inf),
) -> list[Example]:
    """All examples of a file that fit into `model_max_length`.

    Their speech has at least the first and less than the second of `seconds`.
    """
    if task == "text":
        examples = [builder.text(*dialogue) for dialogue in read_dialogues(path)]
    else:
        utterances = _utterances_within(path, config, seconds)
        if task == "asr":
            examples = [builder.asr(utterance) for utterance in utterances]
        else:
            build = builder.chat if task == "chat" else builder.tts
            examples = [
                build(utterance, utterance_speaker(utterance, config, speakers))
                for utterance in utterances
            ]
    fitting = [example for example in examples if len(example) <= config.model_max_length]
    if not fitting:
        wanted = f"at most {config.model_max_length} tokens"
        if seconds != (0.0, math.inf):
            wanted += f" and {seconds[0]:g} to {seconds[1]:g} seconds"
        raise UserError(f"{path}: holds no example of {wanted}")
    return fitting


def _utterances_within(
    path: Path, config: LanguageModelConfig, seconds: tuple[float, float]
) -> Iterator[TokenizedUtterance]:
    shortest, longest = seconds
    for utterance in read_utterances(path, config.heads, config.streams):
        if shortest <= utterance.seconds < longest:
            yield utterance


def utterance_speaker(
    utterance: TokenizedUtterance, config: LanguageModelConfig, folder: Path
) -> np.ndarray | None:
    """The stored embedding of a speaker-aware model's utterance, float32 (C,)."""
    if not config.spk_aware:
        return None
    if utterance.spk_emb_path is None:
        raise UserError(f"{utterance.uttid}: a speaker-aware model needs 'spk_emb_path'")
    return read_speaker(folder / utterance.spk_emb_path, config.spk_emb_dim)


# Utterances of one speaker often share a file.
read_speaker = functools.lru_cache(maxsize=1024)(formats.speaker_files.read_speaker)
