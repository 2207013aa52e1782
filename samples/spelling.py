"""Token files of phonemes become token files of letters: the text as people write it.

    python -m samples.spelling tokens/h12.jsonl letters/h12.jsonl --heads 12

In: what `train.prepare --frontend hibari` made of recordings whose durations are known. Out: the
same utterances with their spelling as text, and durations of letters in the place of those of
phonemes. Utterances whose spelling has other words than their phonemes (numbers, abbreviations)
are left out and counted.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.errors import UserError, run_cli
from train.tokens import TokenizedUtterance, read_utterances, write_utterances


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


def spell_file(source: Path, output: Path, heads: int) -> None:
    """Write `output`; its lines name speakers relative to the folder of `source`."""
    left_out = 0

    def spelt() -> Iterator[TokenizedUtterance]:
        nonlocal left_out
        for utterance in read_utterances(source, heads):
            try:
                yield spell(utterance)
            except UserError:
                left_out += 1

    output.parent.mkdir(parents=True, exist_ok=True)
    count = write_utterances(output, spelt(), heads)
    print(f"{count} utterances in {output}, {left_out} left out: their words are not letters")


def _command(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m samples.spelling", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("source", type=Path, help="hN.jsonl of train.prepare --frontend hibari")
    parser.add_argument("output", type=Path, help="hN.jsonl to write")
    parser.add_argument("--heads", type=int, required=True, metavar="N", help="of both")
    arguments = parser.parse_args(argv)
    spell_file(arguments.source, arguments.output, arguments.heads)


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(_command, argv)


if __name__ == "__main__":
    sys.exit(main())
