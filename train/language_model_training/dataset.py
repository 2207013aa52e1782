"""Files of training examples: tokens JSONL or dialogues, and the stored speakers they name.

In: a file, its task, a builder of examples (train/data/examples.py). Out: the
examples that fit into the model, in the order of the file.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import formats.speaker_files
from commands.errors import UserError
from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.files.text_files import read_lines
from formats.tokens import TokenizedUtterance, read_utterances
from train.data.examples import Example, ExampleBuilder


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
