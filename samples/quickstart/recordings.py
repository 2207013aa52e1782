"""Ten recordings with their texts, for trying the training without recordings of your own.

In: a bundle, by default the one that `make demo` builds. Out: a folder with `01.wav`, `01.txt`, …,
as `train.codec` and `train.prepare` read them. The bundle speaks the sentences.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_engine
from commands.run import run_command
from formats.files.atomic import write_text

DEFAULT_ENGINE = Path("demo-engine")
SENTENCES = (
    "The baker opens his shop before the sun is up.",
    "We walked along the river until it was dark.",
    "My sister wrote a letter to an old friend.",
    "A grey cat was asleep on the warm stones.",
    "They sold apples and pears at the market.",
    "The train was late, so we had a cup of tea.",
    "He keeps his tools in a box under the stairs.",
    "Snow fell all night and covered the road.",
    "She could hear music from the house next door.",
    "The children played in the garden after school.",
)


def run(arguments: argparse.Namespace) -> None:
    """Let the bundle speak the sentences, each into a file of its own.

    Raises:
        UserError: no bundle, an unknown voice, or a folder that is not empty.
    """
    from runtime import TTS, Sampling

    folder: Path = arguments.output
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: already holds files; name a new folder, or use these")
    if arguments.engine == DEFAULT_ENGINE and not DEFAULT_ENGINE.exists():
        raise UserError(
            f"{DEFAULT_ENGINE}: not found; make it with: "
            f"python -m export.build --output {DEFAULT_ENGINE}"
        )
    tts = TTS.load(arguments.engine)
    tts.speaker(arguments.voice)  # a wrong voice leaves no folder
    folder.mkdir(parents=True, exist_ok=True)
    for number, sentence in enumerate(SENTENCES, 1):
        speech = tts.synthesize(sentence, voice=arguments.voice, sampling=Sampling(seed=number))
        speech.save(folder / f"{number:02d}.wav")
        write_text(folder / f"{number:02d}.txt", sentence + "\n")
    print(f"wrote {len(SENTENCES)} recordings with their texts in {folder}")


def make_parser() -> CommandParser:
    parser = command_parser(
        "samples.quickstart.recordings", "Make ten recordings to try the training on."
    )
    parser.add_argument("output", type=Path, metavar="DIR", help="folder to write")
    add_engine(parser, default=str(DEFAULT_ENGINE))
    parser.add_argument("--voice", metavar="NAME", help="(default: the bundle's first)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
