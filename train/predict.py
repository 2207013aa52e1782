"""Predicted tokens of a data set: `python -m train.predict --model DIR --tokens FILE --output F`.

In: a multi-token model and a file of tokens that it could be trained on. Out: the same file with
predicted tokens: for each step, the most likely tokens after the true steps before it. They follow
the recordings frame by frame, and differ from the true codes as the model's own speech does. A
decoder that also learns from them (`predicted` in train/codec_training/config.py) decodes that
speech better. Vocoders are fine-tuned in the same way on "ground-truth-aligned" spectrograms
(Tacotron 2, arXiv 1712.05884).

Predictions are kept beside the output until all are there, so the same command goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.next_step import print_next
from commands.options import GOES_ON, add_device, add_limit, add_max_minutes, add_output
from commands.progress import progress
from commands.run import run_command
from formats.files.atomic import check_target, flush
from formats.files.hashing import sha256_file
from formats.files.unfinished_work import begin_work, remove_work, unfinished_folder

if TYPE_CHECKING:
    from formats.tokens import TokenizedUtterance
    from train.data.examples import Example
    from train.language_model.checkpoint import LoadedModel
    from train.language_model.mtp import MtpModel

POSITIONS_PER_BATCH = 4000
PREDICTED_FILE = "predicted.jsonl"


def run(arguments: argparse.Namespace) -> None:
    """Write the predicted tokens. Raises `UserError` for unusable input."""
    from formats.tokens import read_utterances
    from train.device import check_device
    from train.language_model.checkpoint import load_checkpoint
    from train.language_model.mtp import MtpModel

    check_device(arguments.device, "--device")
    checkpoint = load_checkpoint(arguments.model)
    model, heads = checkpoint.model.to(arguments.device).eval(), checkpoint.config.heads
    streams = checkpoint.config.streams
    if not isinstance(model, MtpModel):
        raise UserError(
            f"{arguments.model}: predicts one token at a time; name a model of several heads"
        )
    utterances = list(read_utterances(arguments.tokens, heads, streams))[: arguments.limit]
    if not utterances:
        raise UserError(f"{arguments.tokens}: no utterance to predict")
    speakers = arguments.speaker_folder or arguments.tokens.parent
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    check_target(arguments.output)
    unfinished = unfinished_folder(arguments.output)
    begin_work(unfinished, describe_inputs(arguments, speakers))
    done = count_whole_lines(unfinished / PREDICTED_FILE)
    predicted = predict_utterances(checkpoint, model, utterances, speakers, done)
    with progress("predict", len(utterances), done=done, to_stderr=True) as stage:
        write_predicted(unfinished / PREDICTED_FILE, stage.track(predicted), heads, arguments)
    flush(unfinished / PREDICTED_FILE)
    (unfinished / PREDICTED_FILE).replace(arguments.output)
    remove_work(unfinished)
    print(f"{len(utterances)} utterances in {arguments.output}")
    print_next(
        "python -m train.codec --config codec-tuned.yaml --phase decoder --resume, with "
        f"{{file: {arguments.output}, heads: {heads}}} under decoder.predicted (docs/training.md)"
    )


def describe_inputs(arguments: argparse.Namespace, speakers: Path) -> dict[str, object]:
    """What a run must have in common with the one that it continues."""
    weights = sorted(arguments.model.glob("*.safetensors"))
    return {
        "model": [sha256_file(path) for path in weights],
        "file of tokens": sha256_file(arguments.tokens),
        "limit": arguments.limit,
        "speaker folder": str(speakers),
    }


def count_whole_lines(path: Path) -> int:
    """The number of lines of a file; an incomplete last line is removed from it."""
    if not path.is_file():
        return 0
    with path.open("rb+") as content:
        lines = content.read()
        content.truncate(lines.rfind(b"\n") + 1)
    return lines.count(b"\n")


def write_predicted(
    path: Path,
    utterances: Iterable[TokenizedUtterance],
    heads: int,
    arguments: argparse.Namespace,
) -> None:
    """Append the utterances to a file. After an interruption, a message says where they are."""
    from formats.tokens import format_utterance

    interruption = Interruption(arguments.max_minutes)
    with interruption, path.open("a", encoding="utf-8", newline="\n") as lines:
        for utterance in utterances:
            lines.write(format_utterance(utterance, heads) + "\n")
            if interruption.requested:
                break
    if interruption.noted:
        command = arguments.command_line
        interruption.leave(f"{path.parent} keeps what is predicted; go on with: {command}")


def predict_utterances(
    checkpoint: LoadedModel,
    model: MtpModel,
    utterances: Sequence[TokenizedUtterance],
    speaker_folder: Path,
    done: int = 0,
) -> Iterator[TokenizedUtterance]:
    """The utterances, short ones first, with as many predicted frames as they had.

    The first `done` are left out. They still count for the batches, so the batches stay the same.
    """
    from train.data.examples import ExampleBuilder
    from train.language_model_training.dataset import utterance_speaker

    config = checkpoint.config
    builder = ExampleBuilder(config, checkpoint.tokenizer, model.tokens, with_tail=False)
    ordered = sorted(utterances, key=lambda utterance: len(utterance.frames))
    batch: list[tuple[TokenizedUtterance, Example]] = []
    for utterance in ordered:
        example = builder.tts(utterance, utterance_speaker(utterance, config, speaker_folder))
        longest = max(len(example), *(len(other) for _, other in batch), 0)
        if batch and longest * (len(batch) + 1) > POSITIONS_PER_BATCH:
            yield from _predict_rest(model, batch, done)
            done, batch = max(0, done - len(batch)), []
        batch.append((utterance, example))
    yield from _predict_rest(model, batch, done)


def _predict_rest(
    model: MtpModel, batch: Sequence[tuple[TokenizedUtterance, Example]], done: int
) -> Iterator[TokenizedUtterance]:
    if done < len(batch):
        yield from islice(_predict_batch(model, batch), done, None)


def _predict_batch(
    model: MtpModel, batch: Sequence[tuple[TokenizedUtterance, Example]]
) -> Iterator[TokenizedUtterance]:
    import torch

    from train.data.examples import collate
    from train.device import mixed_precision

    device = model.embedding.weight.device
    tensors = collate([example for _, example in batch], model.tokens.eos)
    inputs = {name: tensor.to(device) for name, tensor in tensors.items()}
    inputs.pop("loss_mask")
    with torch.inference_mode(), mixed_precision("auto", device.type):
        codes = model.predict_codes(**inputs).cpu()
    for (utterance, _), row, speech in zip(batch, codes, tensors["speech_mask"], strict=True):
        frames = row[speech].reshape(-1, utterance.streams.count)  # with the step that ends them
        yield replace(utterance, frames=frames[: len(utterance.frames)].numpy())


def make_parser() -> CommandParser:
    parser = command_parser(
        "train.predict", f"Replace tokens by those that a model predicts. Stopped, {GOES_ON}."
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="checkpoint of several heads")
    add("--tokens", type=Path, required=True, metavar="FILE", help="JSON lines of train.prepare")
    add_output(parser, "JSON lines to write")
    add(
        "--speaker-folder",
        type=Path,
        metavar="DIR",
        help="folder that the speakers' paths are relative to (default: the folder of the tokens)",
    )
    add_limit(parser, "utterances")
    add_device(parser)
    add_max_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
