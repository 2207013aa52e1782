"""One training run from settings to checkpoint: tokenizer, model, examples, trainer.

In: `LmSettings`. Out: a checkpoint directory in the published layout, with training checkpoints
and TensorBoard logs in its `run` folder. This module joins the parts. The steps of the training are
in trainer.py.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers.trainer_utils import get_last_checkpoint

from commands.errors import UserError
from commands.interruption import Interruption
from formats.checkpoint.language_model_config import MAX_HEADS, read_lm_config
from formats.checkpoint.prompts import (
    ASSISTANT,
    HUMAN,
    SPEAKER_PLACEHOLDER,
    SPEECH_START,
    PromptTemplates,
    normalize_text,
)
from formats.checkpoint.tokenizer import (
    add_speech_tokens,
    build_phoneme_tokenizer,
    code_tokens,
    load_tokenizer,
)
from formats.files.folders import check_own_folder
from formats.files.unfinished_work import Inputs, differing_inputs, note_inputs
from formats.streams import FACODEC, Streams
from formats.tokens import find_streams, read_utterances
from train.language_model.checkpoint import WEIGHTS_FILE
from train.language_model_training.dataset import load_data
from train.language_model_training.initialization import build_model, prepare_heads
from train.language_model_training.settings import LmSettings
from train.language_model_training.trainer import LmTrainer

logger = logging.getLogger(__name__)
RUN_FOLDER = "run"


def train(
    settings: LmSettings,
    output: Path,
    resume: bool = False,
    interruption: Interruption | None = None,
    inputs: Inputs | None = None,
) -> bool:
    """Run the training that `settings` describe and write the checkpoint to `output`.

    An interruption leaves a training checkpoint instead, from which the same call continues. The
    run notes `inputs`, the settings that decide its result. Only with `resume` does it continue
    with other settings. Returns whether the checkpoint was written.

    Raises:
        UserError: unusable input, a run of other settings in `output`, or a folder that is no run.
    """
    interruption = interruption or Interruption()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    check_own_folder(output, "checkpoint of train.lm", RUN_FOLDER)
    run = output / RUN_FOLDER
    inputs = inputs or dataclasses.asdict(settings)
    checkpoint = _checkpoint_to_resume(run, resume, inputs)
    if checkpoint is not None and not resume and (output / WEIGHTS_FILE).is_file():
        logger.info("%s is already trained; delete it to train it again", output)
        return False
    streams = training_streams(settings)
    tokenizer = make_tokenizer(settings, streams)
    model = build_model(settings, tokenizer, streams)
    data = load_data(settings, model, tokenizer)
    if checkpoint is None:
        prepare_heads(settings, model, data.examples)
    logger.info("%d examples, %d for validation", len(data.examples), len(data.validation))
    trainer = LmTrainer(model, tokenizer, settings, data, run, interruption)
    run.mkdir(parents=True, exist_ok=True)
    note_inputs(run, inputs)
    with interruption:
        if checkpoint is not None and _is_at_end(checkpoint, settings):
            trainer.take_up(checkpoint)
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if not interruption.noted:
            trainer.save_result(output, settings.save_dtype)
    if interruption.noted:
        step, last = trainer.state.global_step, get_last_checkpoint(str(run))
        logger.info("step %d of %d is saved: %s", step, settings.max_steps, last)
    return not interruption.noted


def _checkpoint_to_resume(run: Path, resume: bool, inputs: Inputs) -> Path | None:
    """The last training checkpoint, if there is one.

    Raises:
        UserError: the run has other settings, and there is no `resume`.
    """
    last = get_last_checkpoint(str(run)) if run.is_dir() else None
    if last is None:
        if resume:
            raise UserError(f"{run}: no training checkpoint to resume from")
        return None
    differing = differing_inputs(run, inputs)
    if not resume and differing != []:
        which = "not noted" if differing is None else f"others for {', '.join(differing)}"
        raise UserError(
            f"{last}: exists, and its settings are {which}; add --resume to continue it with "
            "the present ones, or choose another --output"
        )
    return Path(last)


def _is_at_end(checkpoint: Path, settings: LmSettings) -> bool:
    """Whether all steps are done and only the result is missing.

    The Trainer would take one more step. Only the Trainer can read the weights of FSDP.
    """
    step = int(checkpoint.name.rpartition("-")[2])
    return step >= settings.max_steps and not settings.fsdp


def training_streams(settings: LmSettings) -> Streams:
    """The streams of all token files, or of the base model if there are none.

    Raises:
        UserError: files or models of different codecs, or heads that make no whole frames.
    """
    sources = (*settings.data.train, *settings.data.validation)
    found = {s.file: find_streams(Path(s.file)) for s in sources if s.task != "text"}
    base = settings.model.base_model
    if base is not None and (speech := _speech_streams(Path(base))) is not None:
        found = {base: speech} | found
    first = next(iter(found), "")
    streams = found.get(first, FACODEC)
    for name, others in found.items():
        if others != streams:
            raise UserError(
                f"{name}: has streams of {others}, but {first} has streams of {streams}; "
                "use tokens of one codec"
            )
    heads = settings.model.heads
    if heads != 1 and heads % streams.count:
        raise UserError(
            f"model: 'heads' must be 1 or a multiple of {streams.count} up to {MAX_HEADS}, "
            f"not {heads}"
        )
    return streams


def _speech_streams(folder: Path) -> Streams | None:
    """The streams of a base model that can speak; None for a text model."""
    streams = read_lm_config(folder).streams
    speaks = load_tokenizer(folder).token_to_id(code_tokens(streams)[0]) is not None
    return streams if speaks else None


def make_tokenizer(settings: LmSettings, streams: Streams = FACODEC) -> Tokenizer:
    """The base model's or a given tokenizer with speech tokens added, or a phoneme tokenizer."""
    chosen, mtp = settings.model, settings.model.heads > 1
    if chosen.base_model is None and chosen.tokenizer == "phonemes":
        return build_phoneme_tokenizer(sorted(set(_texts(settings))), mtp=mtp, streams=streams)
    tokenizer = load_tokenizer(Path(chosen.base_model or chosen.tokenizer))
    add_speech_tokens(tokenizer, mtp=mtp, streams=streams)
    return tokenizer


def _texts(settings: LmSettings) -> Iterator[str]:
    """All texts that a tokenizer built from the data must be able to spell."""
    sources = (*settings.data.train, *settings.data.validation)
    chats = any(source.task == "chat" for source in sources)
    yield from _template_texts(settings.model.prompts, with_chat=chats)
    for source in sources:
        if source.task != "text":
            for utterance in read_utterances(Path(source.file), settings.model.heads):
                yield utterance.text
                if source.task == "chat":
                    yield utterance.question or ""
                elif settings.model.text_frontend.kind == "none":
                    yield normalize_text(utterance.text)


def _template_texts(prompts: PromptTemplates, *, with_chat: bool) -> Iterator[str]:
    """The templates without the parts that are single tokens."""
    places = ("{text}", "{question}", "{answer}")
    templates = [prompts.tts, prompts.tts_speaker, prompts.tail]
    if with_chat:
        templates += [prompts.chat, prompts.chat_speaker]
    for template in templates:
        for token in (*places, HUMAN, ASSISTANT, SPEECH_START, SPEAKER_PLACEHOLDER):
            template = template.replace(token, "")
        yield template
