"""What a model would say in its data's place: `python -m train.predict --model DIR --tokens FILE`.

In: a multi-token model and a file of tokens that it could be trained on. Out: the same file, with
each step's tokens replaced by the likeliest ones after the true steps before it. They follow the
recordings frame by frame, and differ from the true codes as the model's own speech does, so a
decoder that also learns from them (`predicted` in train/codec_training/config.py) is ready for
it; vocoders are fine-tuned like this on "ground-truth-aligned" spectrograms (Tacotron 2, arXiv
1712.05884).

What is predicted is kept beside the output until all is, so the same command goes on where it was
cut off.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.interruption import Interruption, format_command
from commands.next_step import print_next
from commands.run import run_cli
from formats.files.atomic import check_target

if TYPE_CHECKING:
    from formats.tokens import TokenizedUtterance
    from train.data.examples import Example
    from train.language_model.checkpoint import LoadedModel
    from train.language_model.mtp import MtpModel

POSITIONS_PER_BATCH = 4000
PREDICTED_FILE = "predicted.jsonl"


def predict(arguments: argparse.Namespace) -> None:
    """Write the predicted tokens. Raises `UserError` for unusable input."""
    from tqdm import tqdm

    from formats.tokens import read_utterances
    from train.data.token_parts import check_plan
    from train.device import check_device
    from train.language_model.checkpoint import load_checkpoint
    from train.language_model.mtp import MtpModel

    check_device(arguments.device, "--device")
    checkpoint = load_checkpoint(arguments.model)
    model, heads = checkpoint.model.to(arguments.device).eval(), checkpoint.config.heads
    streams = checkpoint.config.streams
    if not isinstance(model, MtpModel):
        raise UserError(f"{arguments.model}: predicts one token at a time; needs several heads")
    utterances = list(read_utterances(arguments.tokens, heads, streams))[: arguments.limit]
    if not utterances:
        raise UserError(f"{arguments.tokens}: no utterance to predict")
    speakers = arguments.speaker_folder or arguments.tokens.parent
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    check_target(arguments.output)
    unfinished = arguments.output.with_name(f"{arguments.output.name}.unfinished")
    check_plan(unfinished, describe_plan(arguments, speakers))
    done = count_whole_lines(unfinished / PREDICTED_FILE)
    predicted = predict_utterances(checkpoint, model, utterances, speakers, done)
    bar = tqdm(predicted, total=len(utterances), initial=done, unit="utterance")
    write_predicted(unfinished / PREDICTED_FILE, bar, heads, arguments.command)
    (unfinished / PREDICTED_FILE).replace(arguments.output)
    shutil.rmtree(unfinished)
    print(f"{len(utterances)} utterances in {arguments.output}")
    print_next(
        "python -m train.codec --config codec-tuned.yaml --phase decoder, with "
        f"{{file: {arguments.output}, heads: {heads}}} under decoder.predicted (docs/training.md)"
    )


def describe_plan(arguments: argparse.Namespace, speakers: Path) -> dict[str, object]:
    """What a run must have in common with the one that it continues."""
    digests = []
    for path in (*sorted(arguments.model.glob("*.safetensors")), arguments.tokens):
        with path.open("rb") as content:
            digests.append(hashlib.file_digest(content, "sha256").hexdigest())
    return {"files": digests, "limit": arguments.limit, "speakers": str(speakers)}


def count_whole_lines(path: Path) -> int:
    """How many lines a file has. An incomplete last line is removed from it."""
    if not path.is_file():
        return 0
    with path.open("rb+") as content:
        lines = content.read()
        content.truncate(lines.rfind(b"\n") + 1)
    return lines.count(b"\n")


def write_predicted(
    path: Path, utterances: Iterable[TokenizedUtterance], heads: int, command: str
) -> None:
    """Append the utterances to a file. An interruption keeps those written so far, and says so."""
    from formats.tokens import format_utterance

    with Interruption() as interruption, path.open("a", encoding="utf-8", newline="\n") as lines:
        for utterance in utterances:
            lines.write(format_utterance(utterance, heads) + "\n")
            if interruption.requested:
                break
    if interruption.requested:
        interruption.leave(f"{path.parent} keeps what is predicted; go on with: {command}")


def predict_utterances(
    checkpoint: LoadedModel,
    model: MtpModel,
    utterances: Sequence[TokenizedUtterance],
    speaker_folder: Path,
    done: int = 0,
) -> Iterator[TokenizedUtterance]:
    """The utterances, short ones first, with as many predicted frames as they had. The first `done`
    are left out, but batches are formed as if they were there."""
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


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m train.predict", description=(__doc__ or "").splitlines()[0].split(":")[0]
    )
    parser.add_argument("--model", type=Path, required=True, help="checkpoint of several heads")
    parser.add_argument("--tokens", type=Path, required=True, help="JSON lines of train.prepare")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines to write")
    parser.add_argument(
        "--speaker-folder",
        type=Path,
        help="what the speakers' paths begin at (default: that of the tokens)",
    )
    parser.add_argument("--limit", type=int, help="use only the first LIMIT utterances")
    parser.add_argument("--device", default="cpu", help="torch device")
    parsed = parser.parse_args(argv)
    parsed.command = format_command("train.predict", argv)
    return parsed


def predict_from_arguments(argv: Sequence[str] | None) -> None:
    predict(parse_arguments(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(predict_from_arguments, argv)


if __name__ == "__main__":
    sys.exit(main())
