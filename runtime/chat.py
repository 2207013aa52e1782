"""`python -m runtime.chat`: ask a bundle a question; it answers in writing and aloud.

In: a bundle that was exported with --text-head, and questions: one as an argument, or line by line
from standard input. Out: answers on standard output, their speech in a WAV file or played.
`runtime.speech.answering` makes the answers.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.run import run_command
from commands.standard_streams import ReaderLeft, reader_has_left
from runtime.bundle.voice_names import print_voices
from runtime.speaking_options import (
    WARNING_CUT,
    add_drawing_options,
    add_engine_options,
    add_voice_options,
    check_sound_output,
)
from runtime.text.typed_text import drop_terminal_codes

if TYPE_CHECKING:
    from runtime.speech.answering import Chat
    from runtime.speech.sampling import Sampling
    from runtime.speech.spoken import Chunk

PROMPT = "> "


def make_parser() -> CommandParser:
    parser = command_parser(
        "runtime.chat",
        "Ask a bundle: one --question, or the questions that you type, line by line.",
        more="Each question is independent: nothing is remembered. End with Ctrl-D.",
    )
    parser.add_argument(
        "--question", metavar="TEXT", help="ask this and end; without it, ask what is typed"
    )
    add_engine_options(parser)
    parser.add_argument(
        "--strict", action="store_true", help="refuse a question if a part of it cannot be read"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--output", metavar="FILE", help="write the speech of the latest answer as .wav"
    )
    output.add_argument("--play", action="store_true", help="play answers while they are made")
    add_voice_options(parser.add_argument_group("voice"))
    add_drawing_options(parser.add_argument_group("sampling"), "the speech of each answer")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Answer the question, or one question after the other."""
    if arguments.list_voices:
        print_voices(arguments.engine)
        return
    check_sound_output(arguments.output, play=arguments.play)
    from runtime.speech.answering import Chat
    from runtime.speech.sampling import Sampling

    sampling = Sampling(do_sample=False if arguments.greedy else None, seed=arguments.seed)
    loaded = Chat.load(arguments.engine, arguments.run_with, arguments.threads)
    print(loaded.describe(), file=sys.stderr)
    if arguments.question is not None:
        answer(loaded, drop_terminal_codes(arguments.question), sampling, arguments)
        return
    loaded.speaker(arguments.voice)  # reports a wrong voice before the first question
    for question in read_questions():
        try:
            answer(loaded, question, sampling, arguments)
        except UserError as error:  # only this question is at fault
            print(f"error: {error}", file=sys.stderr)


def read_questions() -> Iterator[str]:
    """The lines of standard input, without blank ones. A terminal shows a prompt.

    Raises:
        UserError: a line that is not text.
    """
    is_terminal = sys.stdin.isatty()
    while True:
        if is_terminal:
            print(PROMPT, end="", file=sys.stderr, flush=True)
        try:
            line = sys.stdin.readline()
            line.encode()  # some locales let other bytes pass, as surrogates
        except UnicodeError:
            raise UserError(
                f"standard input: is not {sys.stdin.encoding} text; convert it"
            ) from None
        if not line:
            if is_terminal:  # the shell's own prompt begins a line
                print(file=sys.stderr)
            return
        if line.strip():
            yield drop_terminal_codes(line.strip())


def answer(loaded: Chat, question: str, sampling: Sampling, arguments: argparse.Namespace) -> None:
    """Print the answer while it is written, then speak it."""
    from runtime.audio.playback import open_player
    from runtime.audio.sound import to_pcm16
    from runtime.speech.schedule import least_work, soon_heard

    pieces = loaded.stream_answer(
        question,
        voice=arguments.voice,
        sampling=sampling,
        max_steps=arguments.max_steps,
        schedule=(soon_heard if arguments.play else least_work)(loaded.bundle.manifest.codec),
        strict=arguments.strict,
    )
    spoken: list[Chunk] = []
    with ExitStack() as stack:
        player = stack.enter_context(open_player(loaded.sample_rate)) if arguments.play else None
        for piece in print_text(pieces, is_awaited=bool(arguments.output or arguments.play)):
            spoken.append(piece)
            if player:
                player.write(to_pcm16(piece.audio))
    finish(loaded, spoken, arguments.output)


def print_text(pieces: Iterator[str | Chunk], *, is_awaited: bool) -> Iterator[Chunk]:
    """Print the text as one line, and pass the speech on.

    Raises:
        ReaderLeft: the reader of the text has left, and nobody waits for the speech.
    """
    is_writing = True
    for piece in pieces:
        if isinstance(piece, str):
            print(piece, end="", flush=True)
            if reader_has_left() and not is_awaited:
                raise ReaderLeft
            continue
        if is_writing:
            print(flush=True)
        is_writing = False
        yield piece
    if is_writing:
        print(flush=True)


def finish(loaded: Chat, spoken: list[Chunk], output: str | None) -> None:
    """Write the speech, and report what went wrong."""
    import numpy as np

    from runtime.audio.sound import write_wav

    audio = np.concatenate([np.zeros(0, np.float32), *(chunk.audio for chunk in spoken)])
    if not all(chunk.finished for chunk in spoken):
        print(WARNING_CUT, file=sys.stderr)
    elif not spoken:
        print("the model answered in writing only", file=sys.stderr)
    if output and len(audio):
        write_wav(output, audio, loaded.sample_rate)
        print(f"wrote {output}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
