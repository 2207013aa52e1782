"""Files of the demo chat: sentences for the teachers to read, training examples, the test.

    python -m samples.demo_chat.examples sentences FILE       every answer, one a line
    python -m samples.demo_chat.examples train TOKENS FOLDER  capitals, numbers, validation.jsonl
    python -m samples.demo_chat.examples test FILE            the held-out questions

TOKENS is the output of `train.prepare --frontend hibari` for the spoken answers. The model reads
and writes letters. Its examples therefore hold the spelling, and durations of phonemes become
durations of letters, word by word.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.extras import importing
from commands.run import run_command
from formats.files.atomic import write_text

with importing():
    from formats.tokens import TokenizedUtterance, read_utterances, write_utterances
    from samples.demo_chat.domain import CASUAL_SHARE, Fact, casual, facts

HEADS = 6
VOICES = ("heart", "oak")  # the test asks them in turn


def write_sentences(path: Path) -> None:
    """Every answer, one a line."""
    write_text(path, "".join(fact.answer + "\n" for fact in facts()))


def write_examples(tokens: Path, folder: Path) -> None:
    """Join the spoken answers with the questions of the splits "train" and "validation".

    Training examples are in two files: capitals must be heard more often than numbers, because each
    of their names occurs in one answer only.
    """
    by_answer = {fact.answer: fact for fact in facts()}
    spoken = [spell(utterance) for utterance in read_utterances(tokens, HEADS)]
    for utterance in spoken:
        if utterance.text not in by_answer:
            raise UserError(f"{tokens}: {utterance.text!r} is no answer of the domain")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[TokenizedUtterance]] = {"capitals": [], "numbers": [], "validation": []}
    for utterance in spoken:
        fact = by_answer[utterance.text]
        subject = "capitals" if fact.kind == "capital" else "numbers"
        files[subject] += ask(utterance, fact, "train")
        files["validation"] += ask(utterance, fact, "validation")
    for name, lines in files.items():
        count = write_utterances(folder / f"{name}.jsonl", lines, HEADS)
        print(f"{count} examples in {folder / f'{name}.jsonl'}")


def ask(utterance: TokenizedUtterance, fact: Fact, split: str) -> Iterator[TokenizedUtterance]:
    """The utterance with every question of the split; some as people type them."""
    choices = random.Random(f"{utterance.uttid} {split}")
    for number, question in enumerate(fact.asked(split)):
        if split == "train" and choices.random() < CASUAL_SHARE:
            question = casual(question)
        yield dataclasses.replace(utterance, uttid=f"{utterance.uttid}_{number}", question=question)


def spell(utterance: TokenizedUtterance) -> TokenizedUtterance:
    """The same utterance with its spelling as text, and durations of letters."""
    if utterance.sentence is None or utterance.symbol_frames is None:
        raise UserError(
            f"{utterance.uttid}: needs 'sentence' and 'symbol_frames'; "
            "prepare the tokens with --frontend hibari"
        )
    frames = spread_over_letters(utterance.sentence, utterance.text, utterance.symbol_frames)
    return dataclasses.replace(
        utterance, text=utterance.sentence, symbol_frames=frames, sentence=None
    )


def spread_over_letters(
    sentence: str, phonemes: str, symbol_frames: Sequence[int]
) -> tuple[int, ...]:
    """Frames of silence, of each character of `sentence`, of silence.

    A word's letters share the frames of its phonemes evenly; a space lasts as long as the space
    between the phonemes. `symbol_frames` counts silence, each character of `phonemes`, silence.
    """
    first, *inner, last = symbol_frames
    spelt, sounded = sentence.split(" "), phonemes.split(" ")
    if len(spelt) != len(sounded) or len(inner) != len(phonemes):
        raise UserError(f"{sentence!r} and {phonemes!r} have different words")
    letters, position = [first], 0
    for number, (word, sounds) in enumerate(zip(spelt, sounded, strict=True)):
        if number:
            letters.append(inner[position])
            position += 1
        total = sum(inner[position : position + len(sounds)])
        position += len(sounds)
        ends = [total * (index + 1) // len(word) for index in range(len(word))]
        letters += [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    return (*letters, last)


def write_test(path: Path) -> None:
    """One line for each held-out question: what is asked, in which voice, the right answer."""
    lines = [
        json.dumps(
            {
                "question": question,
                "answer": fact.answer,
                "kind": fact.kind,
                "voice": VOICES[number % len(VOICES)],
            }
        )
        for number, fact in enumerate(facts())
        for question in fact.asked("test")
    ]
    write_text(path, "\n".join(lines) + "\n")


def run(arguments: argparse.Namespace) -> None:
    """Write the files of one action."""
    if arguments.action == "train":
        write_examples(arguments.tokens, arguments.folder)
        return
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    write = write_sentences if arguments.action == "sentences" else write_test
    write(arguments.file)


def make_parser() -> CommandParser:
    parser = command_parser(
        "samples.demo_chat.examples", "Write the sentences, the examples and the test of the chat."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("sentences", "test"):
        actions.add_parser(name).add_argument("file", type=Path, help="file to write")
    train = actions.add_parser("train")
    train.add_argument("tokens", type=Path, help=f"h{HEADS}.jsonl of the spoken answers")
    train.add_argument("folder", type=Path, help="folder to write")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
