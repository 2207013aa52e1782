"""One training run from settings to checkpoint: tokenizer, model, examples, trainer.

In: `LmSettings`. Out: a checkpoint directory in the published layout, with training checkpoints
and TensorBoard logs in its `run` folder. This module joins the parts;
train/language_model_training/trainer.py has the steps of the training.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
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
    read_speech_tokens,
)
from formats.files.unfinished_work import Inputs, differing_inputs, note_inputs
from formats.streams import FACODEC, Streams
from formats.tokens import find_streams, read_utterances
from train.data.examples import Example, ExampleBuilder, Pace
from train.language_model.checkpoint import WEIGHTS_FILE, LanguageModel, make_model
from train.language_model.mtp import MtpModel
from train.language_model_training.batches import SourceRange
from train.language_model_training.dataset import read_examples
from train.language_model_training.initialization import (
    grown_config,
    has_trained_heads,
    initialize_from_base,
    initialize_from_codec,
    initialize_from_scratch,
    set_biases_to_frequencies,
)
from train.language_model_training.settings import LmSettings, SourceSettings, scratch_config
from train.language_model_training.size import report_size
from train.language_model_training.trainer import LmTrainer

logger = logging.getLogger(__name__)
RUN_FOLDER = "run"
_FREQUENCY_SAMPLE = 2000  # examples that the initial head biases are counted on


@dataclass(frozen=True)
class TrainingData:
    """`examples` of all sources in a row, the range of each source, and a separate set."""

    examples: list[Example]
    sources: list[SourceRange]
    validation: list[Example]


def train(
    settings: LmSettings,
    output: Path,
    resume: bool = False,
    interruption: Interruption | None = None,
    inputs: Inputs | None = None,
) -> bool:
    """Run the training that `settings` describe and write the checkpoint to `output`.

    An interruption leaves a training checkpoint instead; the same call continues from it. `inputs`
    are the settings as the run notes them; with `resume` a run may go on with other ones. Returns
    whether the checkpoint was written.

    Raises:
        UserError: unusable input, or a run of other settings in `output`.
    """
    interruption = interruption or Interruption()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    run = output / RUN_FOLDER
    inputs = inputs or dataclasses.asdict(settings)
    checkpoint = _checkpoint_to_resume(run, resume, inputs)
    if checkpoint is not None and not resume and (output / WEIGHTS_FILE).is_file():
        logger.info("%s is trained already; delete it to train anew", output)
        return False
    streams = training_streams(settings)
    tokenizer = make_tokenizer(settings, streams)
    model = build_model(settings, tokenizer, streams)
    data = load_data(settings, model, tokenizer)
    if checkpoint is None:
        _prepare_heads(settings, model, data.examples)
    logger.info("%d examples, %d for validation", len(data.examples), len(data.validation))
    parts = (data.examples, data.sources)
    trainer = LmTrainer(model, tokenizer, settings, run, parts, data.validation, interruption)
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
    """The last training checkpoint of a run with these settings, or with `resume` of any run."""
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
            "these, or choose another --output"
        )
    return Path(last)


def _is_at_end(checkpoint: Path, settings: LmSettings) -> bool:
    """Whether only the result is missing: the Trainer would take one step more. FSDP's weights are
    read by the Trainer alone."""
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
            raise UserError(f"{name}: is of {others}, but {first} of {streams}; use one codec")
    heads = settings.model.heads
    if heads != 1 and heads % streams.count:
        raise UserError(
            f"model: 'heads' must be 1 or a multiple of {streams.count} up to {MAX_HEADS}, "
            f"not {heads}"
        )
    return streams


def _speech_streams(folder: Path) -> Streams | None:
    """The streams of a base model that speaks already; None for a text model."""
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
    """Templates without the parts that are single tokens."""
    places = ("{text}", "{question}", "{answer}")
    templates = [prompts.tts, prompts.tts_speaker, prompts.tail]
    if with_chat:
        templates += [prompts.chat, prompts.chat_speaker]
    for template in templates:
        for token in (*places, HUMAN, ASSISTANT, SPEECH_START, SPEAKER_PLACEHOLDER):
            template = template.replace(token, "")
        yield template


def build_model(
    settings: LmSettings, tokenizer: Tokenizer, streams: Streams = FACODEC
) -> LanguageModel:
    """The model with its initial weights."""
    torch.manual_seed(settings.seed)
    chosen = settings.model
    tokens = read_speech_tokens(tokenizer, chosen.base_model or chosen.tokenizer, streams)
    if chosen.base_model is None:
        config = scratch_config(chosen, tokenizer.get_vocab_size(), "model", streams)
        report_size(settings, config, tokens)
        model = make_model(config, tokens)
        initialize_from_scratch(model, text_output=settings.text_weight > 0)
    else:
        base = Path(chosen.base_model)
        config = grown_config(chosen, base, tokenizer.get_vocab_size(), streams)
        report_size(settings, config, tokens)
        model = make_model(config, tokens)
        initialize_from_base(model, base)
    if chosen.init_from_codec is not None:
        initialize_from_codec(model, Path(chosen.init_from_codec))
    if settings.text_weight == 0 and isinstance(model, MtpModel):
        _freeze_own_output_layer(model)
    return model


def _freeze_own_output_layer(model: MtpModel) -> None:
    """An untied text output layer that no loss reaches would stop distributed training."""
    if not model.geometry.tie_word_embeddings:
        model.lm_model.lm_head.weight.requires_grad_(False)


def load_data(settings: LmSettings, model: LanguageModel, tokenizer: Tokenizer) -> TrainingData:
    """Read all files, and let the model declare how long their speech is.

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
    """Bound the model's speech by its training data; never below the bound of its base model."""
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


def _prepare_heads(settings: LmSettings, model: LanguageModel, examples: list[Example]) -> None:
    """Start the biases of new heads at the tokens' log frequencies."""
    if isinstance(model, MtpModel) and not has_trained_heads(settings.model):
        stride = max(1, len(examples) // _FREQUENCY_SAMPLE)
        set_biases_to_frequencies(model, examples[::stride])
