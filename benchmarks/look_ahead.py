"""What a look-ahead costs in quality: the table in docs/native-engine.md.

In: a bundle for the native engine. Out: a table with a column for each look-ahead: how far the end
of a hastened first chunk is from exact speech. Sentences are spoken, and their speech is decoded
again with first chunks that end at many places.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_engine, whole_from
from commands.progress import progress
from commands.run import run_command
from commands.tables import markdown_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.speech.synthesis import TTS

SENTENCES = Path(__file__).parents[1] / "samples" / "evaluation" / "everyday.txt"
LOOK_AHEADS = (0, 2, 4, 6, 8, 10, 12)
COMPARED_FRAMES = 10  # at the end of the first chunk
SHORTEST_FRAMES, EVERY_FRAMES = 10, 17  # where first chunks end
AUDIBLE_DB = -40.0  # below full scale; quieter places are not counted by themselves


def hastened_errors(
    tts: TTS, frames: NDArray[np.int64], speaker: NDArray[np.float32], look_ahead: int
) -> Iterator[tuple[float, float]]:
    """(energy of the speech, energy of the error) at the end of each first chunk."""
    import numpy as np

    from runtime.speech.codec import DecoderStream
    from runtime.speech.schedule import ChunkSchedule

    spec = tts.bundle.manifest.codec
    exact = tts.decode(frames, speaker)
    for first in range(SHORTEST_FRAMES, len(frames) - spec.delay_frames, EVERY_FRAMES):
        schedule = ChunkSchedule(first, 1.0, first, look_ahead)
        stream = DecoderStream(tts.codec, speaker, schedule)
        stream.add(frames[: first + look_ahead])
        [chunk] = stream.ready()
        end = slice(-COMPARED_FRAMES * spec.hop_samples, None)
        wanted = exact[: len(chunk.audio)][end].astype(np.float64)
        error = chunk.audio[end] - wanted
        yield float(wanted @ wanted), float(error @ error)


def summarise(tts: TTS, errors: Sequence[tuple[float, float]]) -> list[float]:
    """Decibels: all places together, and of audible places the median, worst tenth and worst."""
    import numpy as np

    speech, error = np.array(errors).T
    samples = COMPARED_FRAMES * tts.bundle.manifest.codec.hop_samples
    audible = 10 * np.log10(np.maximum(speech, 1e-12) / samples) > AUDIBLE_DB
    each = 10 * np.log10(speech[audible] / np.maximum(error[audible], 1e-20))
    together = 10 * np.log10(speech.sum() / max(error.sum(), 1e-20))
    return [float(together), *np.percentile(each, (50, 10, 0)).tolist()]


def run(arguments: argparse.Namespace) -> None:
    """Speak, decode again, and print the table."""
    from runtime.speech.sampling import seeded
    from runtime.speech.schedule import soon_heard
    from runtime.speech.synthesis import TTS

    tts = TTS.load(arguments.engine, threads=1)
    tts.codec.check_schedule(soon_heard(tts.bundle.manifest.codec, max(arguments.look_ahead)))
    texts = SENTENCES.read_text(encoding="utf-8").splitlines()[: arguments.sentences]
    voices = [tts.speaker(name) for name in tts.voices] or [tts.speaker()]
    errors: dict[int, list[tuple[float, float]]] = {n: [] for n in arguments.look_ahead}
    with progress("sentences", len(texts), to_stderr=True) as stage:
        for number, text in enumerate(stage.track(texts)):
            speaker = voices[number % len(voices)]
            sampling = seeded(tts.bundle.manifest.sampling, number)
            frames = tts.synthesize(text, voice=speaker, sampling=sampling).frames
            for look_ahead, found in errors.items():
                found += hastened_errors(tts, frames, speaker, look_ahead)
    if not (places := len(next(iter(errors.values())))):
        raise UserError("all speech was too short for a first chunk to be hastened")
    figures = {n: summarise(tts, found) for n, found in errors.items()}
    print(f"{len(texts)} sentences, {len(voices)} voices, {places} places")
    print(format_figures(figures), end="")


def format_figures(figures: dict[int, list[float]]) -> str:
    """A Markdown table."""
    rows = [
        [f"{title}, dB", *(f"{row[index]:.1f}" for row in figures.values())]
        for index, title in enumerate(("all", "median", "worst tenth", "worst"))
    ]
    return markdown_table(["look-ahead, frames", *map(str, figures)], rows)


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.look_ahead", "Measure how far hastened speech is from exact speech."
    )
    add_engine(parser)
    add_count(parser, "--sentences", "everyday sentences to speak", default=24)
    parser.add_argument(
        "--look-ahead",
        type=whole_from(0),
        nargs="+",
        default=LOOK_AHEADS,
        metavar="N",
        help="frames (default: 0 2 4 6 8 10 12)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
