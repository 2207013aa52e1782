"""`python -m runtime.tts`: speak a text with a bundle.

In: a bundle and a text (an argument, a text file, or - for standard input). Out: a WAV file, sound,
or raw PCM on standard output; files appear whole or not at all. `runtime.speech.synthesis` makes
the speech.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.run import run_command
from commands.standard_streams import ReaderLeft, output_is_closed, reader_has_left, write_bytes
from formats.files.atomic import check_target, require_two_files
from runtime.bundle.voice_names import print_voices
from runtime.speaking_options import (
    WARNING_CUT,
    add_drawing_options,
    add_engine_options,
    add_look_ahead,
    add_voice_options,
    check_sound_output,
)
from runtime.text.text_argument import STANDARD_INPUT, read_text_argument

if TYPE_CHECKING:
    from runtime.profiling.profiled_voice import ProfiledVoice
    from runtime.speech.sampling import Sampling
    from runtime.speech.spoken import Chunk
    from runtime.speech.synthesis import TTS

SECONDS_BETWEEN_LINES = 60.0  # where no line can be rewritten
END_OF_INPUT = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"


def make_parser() -> CommandParser:
    parser = command_parser(
        "runtime.tts",
        "Speak a text with a bundle.",
        more="Settings that you leave out have the values of the bundle's manifest.",
    )
    parser.add_argument(
        "text", nargs="?", help="what to say, the name of a text file, or - for standard input"
    )
    add_engine_options(parser)
    parser.add_argument(
        "--strict", action="store_true", help="refuse a text if a part of it cannot be read"
    )
    _add_output(parser.add_argument_group("output (at least one)"))
    add_voice_options(parser.add_argument_group("voice"))
    _add_sampling(parser.add_argument_group("sampling"))
    return parser


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-o", "--output", metavar="FILE", help="write a .wav file")
    group.add_argument("--play", action="store_true", help="play the speech while it is made")
    group.add_argument("--raw", action="store_true", help="stream 16-bit PCM to standard output")
    add_look_ahead(group)
    group.add_argument("--frames-out", metavar="FILE", help="write the speech frames as JSON")
    group.add_argument(
        "--profile",
        metavar="FILE",
        help="write a page (.html) of where the time of this speech went",
    )


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    add_drawing_options(group, "each sentence")
    group.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="below 1, likely codes become likelier",
    )
    group.add_argument(
        "--top-k", type=int, metavar="K", help="draw from the K most likely codes only"
    )
    group.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="draw from the most likely codes whose probabilities add up to P",
    )
    group.add_argument(
        "--repetition-penalty",
        type=float,
        metavar="R",
        help="above 1, codes that were drawn before become less likely",
    )


def run(arguments: argparse.Namespace) -> None:
    """Speak the text: to a file, a player, or standard output."""
    if arguments.list_voices:
        print_voices(arguments.engine)
        return
    if arguments.text is None:
        make_parser().error("nothing to say: give the text in quotes, a text file, or - for stdin")
    _check_outputs(arguments)
    if arguments.text == STANDARD_INPUT and sys.stdin.isatty():
        print(f"type the text, then {END_OF_INPUT}", file=sys.stderr)
    text = read_text_argument(arguments.text)
    from runtime.speech.schedule import least_work, soon_heard
    from runtime.speech.synthesis import TTS

    sampling = _sampling(arguments)
    profiled = _open_profiled(arguments, text) if arguments.profile else None
    engine = arguments.engine, arguments.run_with, arguments.threads
    tts = profiled.tts if profiled else TTS.load(*engine)
    print(tts.describe(), file=sys.stderr)
    is_heard, codec = arguments.play or arguments.raw, tts.bundle.manifest.codec
    progress = Progress(tts.sample_rate, is_heard)
    chunks = (profiled or tts).stream(
        text,
        voice=arguments.voice,
        sampling=sampling,
        max_steps=arguments.max_steps,
        schedule=soon_heard(codec, arguments.look_ahead) if is_heard else least_work(codec),
        strict=arguments.strict,
    )
    with progress:
        spoken = _emit(tts, progress.watch(chunks), arguments)
    if arguments.raw and reader_has_left():
        print("the reader of --raw left before the end; the files are whole", file=sys.stderr)
    _write_files(spoken, tts.sample_rate, arguments)
    if profiled:
        profiled.write_page(arguments.profile)
        print(f"wrote {arguments.profile}", file=sys.stderr)
    if not all(chunk.finished for chunk in spoken):
        print(WARNING_CUT, file=sys.stderr)


def _check_outputs(arguments: argparse.Namespace) -> None:
    if not (arguments.output or arguments.play or arguments.raw or arguments.frames_out):
        raise UserError("nothing to do with the speech: give -o FILE.wav, --play or --raw")
    if arguments.look_ahead is not None and not (arguments.play or arguments.raw):
        raise UserError("--look-ahead is for listeners: give --play or --raw too, or leave it out")
    if arguments.raw and arguments.play:
        raise UserError("--raw and --play cannot be used together; take one")
    if arguments.raw and output_is_closed():
        raise UserError("--raw writes to standard output, which is closed; redirect it: > FILE")
    if arguments.raw and sys.stdout.isatty():
        raise UserError("--raw writes binary data to a terminal; redirect it: --raw > FILE")
    check_sound_output(arguments.output, play=arguments.play)
    if arguments.frames_out:
        check_target(arguments.frames_out)
    if arguments.profile:
        check_target(arguments.profile)
        if not arguments.profile.lower().endswith(".html"):
            raise UserError(
                f"{arguments.profile}: only pages can be written; end its name in .html"
            )
    if arguments.output and arguments.frames_out:
        require_two_files(arguments.output, arguments.frames_out)


def _open_profiled(arguments: argparse.Namespace, text: str) -> ProfiledVoice:
    from runtime.profiling.profiled_voice import ProfiledVoice

    return ProfiledVoice(
        arguments.engine,
        arguments.run_with,
        arguments.threads,
        text=text,
        voice=arguments.voice,
        max_steps=arguments.max_steps,
    )


def _sampling(arguments: argparse.Namespace) -> Sampling:
    from runtime.speech.sampling import Sampling

    return Sampling(
        do_sample=False if arguments.greedy else None,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        repetition_penalty=arguments.repetition_penalty,
        seed=arguments.seed,
    )


def _emit(tts: TTS, chunks: Iterator[Chunk], arguments: argparse.Namespace) -> list[Chunk]:
    """Pass every chunk on as soon as it is there; returns them all.

    Raises:
        ReaderLeft: nobody reads --raw any more, and there is no file to go on for.
    """
    from runtime.audio.playback import open_player
    from runtime.audio.sound import to_pcm16

    spoken = []
    with ExitStack() as stack:
        player = stack.enter_context(open_player(tts.sample_rate)) if arguments.play else None
        for chunk in chunks:
            spoken.append(chunk)
            if arguments.raw:
                write_bytes(to_pcm16(chunk.audio))
                if reader_has_left() and not (arguments.output or arguments.frames_out):
                    raise ReaderLeft
            if player:
                player.write(to_pcm16(chunk.audio))
    return spoken


def _write_files(spoken: list[Chunk], rate_hz: int, arguments: argparse.Namespace) -> None:
    import numpy as np

    from formats.files.atomic import write_atomically
    from runtime.audio.sound import write_wav

    if arguments.output:
        write_wav(arguments.output, np.concatenate([chunk.audio for chunk in spoken]), rate_hz)
        print(f"wrote {arguments.output}", file=sys.stderr)
    if arguments.frames_out:
        frames = np.concatenate([chunk.frames for chunk in spoken]).tolist()
        write_atomically(arguments.frames_out, (json.dumps(frames) + "\n").encode())
        print(f"wrote {arguments.frames_out}", file=sys.stderr)


class Progress:
    """How fast it speaks: a line that rewrites itself on a terminal, one a minute elsewhere, and
    one at the end. Use it as a context.

    It includes the time to first audio if somebody listens (`is_heard`).
    """

    def __init__(self, rate_hz: int, is_heard: bool) -> None:
        self._rate_hz = rate_hz
        self._is_heard = is_heard
        self._start = self._told = time.perf_counter()
        self._first: float | None = None
        self._samples = 0
        self._sentences = ""
        self._is_live = sys.stderr.isatty()
        self._width = 0  # of the line that is being rewritten

    def watch(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Pass chunks on and count them."""
        for chunk in chunks:
            self._samples += len(chunk.audio)
            if chunk.sentences > 1:
                self._sentences = f"sentence {chunk.sentence} of {chunk.sentences}, "
            now = time.perf_counter()
            if self._first is None:
                self._first = now - self._start
            if self._is_live:
                self._rewrite(self._sentences + self._speed())
            elif now - self._told >= SECONDS_BETWEEN_LINES:
                self._told = now
                print(self._sentences + self._speed(), file=sys.stderr)
            yield chunk

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End with the totals; after an interruption, only end the line that is being written."""
        if kind is None and self._is_live:
            self._rewrite(self._speed())
        elif kind is None:
            print(self._speed(), file=sys.stderr)
        if self._is_live and self._width:
            print(file=sys.stderr)

    def _rewrite(self, line: str) -> None:
        """Cut the line to one row: a terminal would wrap it, and rewrite only its end."""
        line = line[: max(1, shutil.get_terminal_size().columns - 1)]
        print(f"\r{line.ljust(self._width)}", end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def _speed(self) -> str:
        elapsed, seconds = time.perf_counter() - self._start, self._samples / self._rate_hz
        factor = f"{elapsed / seconds:.2f}" if seconds else "-"
        speed = f"{seconds:.2f} s of audio in {elapsed:.2f} s (RTF {factor})"
        if not self._is_heard or self._first is None:
            return speed
        return f"{speed}, first after {1000 * self._first:.0f} ms"


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
