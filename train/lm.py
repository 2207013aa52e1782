"""Train a speech language model: `python -m train.lm --config FILE`.

In: a YAML file (train/lm_settings.py), tokens JSONL, optionally a base model and a codec.
Out: a checkpoint directory in the published layout, with training checkpoints and TensorBoard
logs in its `run` folder. Several processes: `torchrun --nproc-per-node N -m train.lm …`.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import UserError, run_cli

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from train.batches import SourceRange
    from train.checkpoint import LanguageModel
    from train.dataset import Example, ExampleBuilder
    from train.lm_settings import LmSettings, SourceSettings

logger = logging.getLogger(__name__)
RUN_FOLDER = "run"
_FREQUENCY_SAMPLE = 2000  # examples that the initial head biases are counted on


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.lm", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the run")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint directory to write")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument("--max-minutes", type=float, help="end the run, schedule included, by then")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    from train.lm_settings import read_settings

    train(read_settings(args.config), args.output, args.resume, args.max_minutes)


def train(
    settings: LmSettings, output: Path, resume: bool = False, max_minutes: float | None = None
) -> None:
    """Run the training that `settings` describe and write the checkpoint to `output`."""
    from train.lm_trainer import LmTrainer

    run = output / RUN_FOLDER
    checkpoint = _checkpoint_to_resume(run, resume)
    model, tokenizer, builder = build_model(settings)
    sources, validation = load_data(settings, model, builder)
    examples = [example for source in sources for example in source[0]]
    if checkpoint is None:
        _prepare_heads(settings, model, examples)
    logger.info(
        "%.2f M parameters, %d examples, %d for validation",
        sum(p.numel() for p in model.parameters()) / 1e6,
        len(examples),
        len(validation),
    )
    ranges = _ranges(sources)
    trainer = LmTrainer(
        model, tokenizer, settings, run, (examples, ranges), validation, max_minutes
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.save_result(output, settings.save_dtype)


def _checkpoint_to_resume(run: Path, resume: bool) -> Path | None:
    from transformers.trainer_utils import get_last_checkpoint

    last = get_last_checkpoint(str(run)) if run.is_dir() else None
    if resume and last is None:
        raise UserError(f"{run}: no training checkpoint to resume from")
    if last is not None and not resume:
        raise UserError(f"{last}: exists; add --resume to continue it, or choose another --output")
    return Path(last) if last is not None else None


def build_model(settings: LmSettings) -> tuple[LanguageModel, Tokenizer, ExampleBuilder]:
    """Tokenizer, model with initial weights, and what makes examples for them."""
    import torch

    from train.checkpoint import make_model
    from train.dataset import ExampleBuilder
    from train.initialization import (
        grown_config,
        initialize_from_base,
        initialize_from_codec,
        initialize_from_scratch,
    )
    from train.lm_settings import scratch_config
    from train.tokenizer import read_speech_tokens

    torch.manual_seed(settings.seed)
    chosen = settings.model
    tokenizer = make_tokenizer(settings)
    tokens = read_speech_tokens(tokenizer, chosen.base_model or chosen.tokenizer)
    rows = tokenizer.get_vocab_size()
    if chosen.base_model is None:
        model = make_model(scratch_config(chosen, rows, "model"), tokens)
        initialize_from_scratch(model, text_output=settings.text_weight > 0)
    else:
        model = make_model(grown_config(chosen, Path(chosen.base_model), rows), tokens)
        initialize_from_base(model, Path(chosen.base_model))
    if chosen.init_from_codec is not None:
        initialize_from_codec(model, Path(chosen.init_from_codec))
    if settings.text_weight == 0 and settings.model.heads > 1:
        _freeze_own_output_layer(model)
    builder = ExampleBuilder(
        model.geometry,
        tokenizer,
        tokens,
        with_tail=settings.text_weight > 0,
        guided=settings.guided_attention is not None,
    )
    return model, tokenizer, builder


def _freeze_own_output_layer(model: LanguageModel) -> None:
    """An untied text output layer that no loss reaches would stop distributed training."""
    if not model.geometry.tie_word_embeddings:
        model.lm_model.lm_head.weight.requires_grad_(False)


def make_tokenizer(settings: LmSettings) -> Tokenizer:
    """The base model's or a given tokenizer with speech tokens added, or a phoneme tokenizer."""
    from train.tokenizer import add_speech_tokens, build_phoneme_tokenizer, load_tokenizer
    from train.tokens import read_utterances

    chosen = settings.model
    if chosen.base_model is None and chosen.tokenizer == "phonemes":
        texts = {
            utterance.text
            for source in (*settings.data.train, *settings.data.validation)
            if source.task != "text"
            for utterance in read_utterances(Path(source.file), chosen.heads)
        }
        return build_phoneme_tokenizer(sorted(texts), mtp=chosen.heads > 1)
    tokenizer = load_tokenizer(Path(chosen.base_model or chosen.tokenizer))
    add_speech_tokens(tokenizer, mtp=chosen.heads > 1)
    return tokenizer


Loaded = list[tuple["list[Example]", float]]


def load_data(
    settings: LmSettings, model: LanguageModel, builder: ExampleBuilder
) -> tuple[Loaded, list[Example]]:
    """Training examples per source with its share, and validation examples."""

    def load(source: SourceSettings) -> list[Example]:
        from train.dataset import read_examples

        speakers = Path(settings.data.speaker_folder)
        return read_examples(Path(source.file), source.task, builder, model.geometry, speakers)

    sources = [(load(source), source.share) for source in settings.data.train]
    validation = [example for source in settings.data.validation for example in load(source)]
    if not validation:
        count = settings.data.validation_examples
        first, share = sources[0]
        if count >= len(first):
            raise UserError(f"{settings.data.train[0].file}: holds only {len(first)} examples")
        validation, sources[0] = first[:count], (first[count:], share)
    return sources, validation


def _ranges(sources: Loaded) -> list[SourceRange]:
    from train.batches import SourceRange

    ranges, begin = [], 0
    for examples, share in sources:
        ranges.append(SourceRange(begin, begin + len(examples), share))
        begin += len(examples)
    return ranges


def _prepare_heads(settings: LmSettings, model: LanguageModel, examples: list[Example]) -> None:
    """Start the biases of new heads at the tokens' log frequencies."""
    from train.initialization import has_trained_heads, set_biases_to_frequencies
    from train.mtp import MtpModel

    if isinstance(model, MtpModel) and not has_trained_heads(settings.model):
        stride = max(1, len(examples) // _FREQUENCY_SAMPLE)
        set_biases_to_frequencies(model, examples[::stride])


if __name__ == "__main__":
    raise SystemExit(main())
