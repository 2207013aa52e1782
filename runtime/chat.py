"""Command line: ask an exported bundle; it answers in writing and aloud.

In: an engine directory that was exported with --text-head, and questions: one as an argument, or
line by line from standard input. Out: answers on standard output, their speech in a WAV file or
played. Everything else happens in `runtime.speech.answering`.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli
from commands.standard_streams import ReaderLeft, reader_has_left
from formats.files.atomic import check_target
from runtime.bundle.voice_names import print_voices
from runtime.engines.choices import add_run_with
from runtime.text.typed_text import drop_terminal_codes

if TYPE_CHECKING:
    from runtime.speech.answering import Chat
    from runtime.speech.sampling import Sampling
    from runtime.speech.spoken import Chunk

PROMPT = "> "


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m runtime.chat",
        description="Ask an exported engine: one --question, or one line after the other.",
        epilog="Each question stands for itself; nothing is remembered. End with Ctrl-D.",
    )
    add = parser.add_argument
    add("--engine", default="engine", metavar="DIR", help="default: engine")
    add("--question", metavar="TEXT", help="ask this and end; without it, ask what is typed")
    add_run_with(parser)
    add("--threads", type=int, metavar="N", help="default: the physical cores")
    add("--strict", action="store_true", help="refuse questions that cannot be read whole")
    add("-o", "--output", metavar="FILE", help="write the spoken answer, the latest, as .wav")
    add("--play", action="store_true", help="play answers while they are being made")
    add("--voice", metavar="NAME|FILE", help="a voice of the engine, or a file")
    add("--list-voices", action="store_true", help="print the engine's voices; ask nothing")
    add("--greedy", action="store_true", help="speak the best codes, draw nothing")
    add("--seed", type=int, metavar="N", help="the same seed, the same audio")
    add("--max-steps", type=int, metavar="N", help="bound for the speech of each answer")
    return parser.parse_args(argv)


def chat(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    if arguments.list_voices:
        print_voices(arguments.engine)
        return
    _check_output(arguments.output)
    if arguments.play:
        from runtime.audio.playback import require_player

        require_player()
    from runtime.speech.answering import Chat
    from runtime.speech.sampling import Sampling

    sampling = Sampling(do_sample=False if arguments.greedy else None, seed=arguments.seed)
    loaded = Chat.load(arguments.engine, arguments.run_with, arguments.threads)
    print(loaded.describe(), file=sys.stderr)
    if arguments.question is not None:
        answer(loaded, drop_terminal_codes(arguments.question), sampling, arguments)
        return
    loaded.speaker(arguments.voice)  # a wrong voice is told before the first question
    for question in read_questions():
        try:
            answer(loaded, question, sampling, arguments)
        except UserError as error:  # one question's fault: the next one may be fine
            print(f"error: {error}", file=sys.stderr)


def read_questions() -> Iterator[str]:
    """Lines of standard input that are not blank, until its end; asked for on a terminal.

    Raises:
        UserError: a line that is no text.
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
        for piece in tell(pieces, is_awaited=bool(arguments.output or arguments.play)):
            spoken.append(piece)
            if player:
                player.write(to_pcm16(piece.audio))
    finish(loaded, spoken, arguments.output)


def tell(pieces: Iterator[str | Chunk], *, is_awaited: bool) -> Iterator[Chunk]:
    """Print the text, one line, and pass the speech on.

    Raises:
        ReaderLeft: nobody reads the text any more, nor is the speech awaited.
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
    """Write the speech, and say what is not as it should be."""
    import numpy as np

    from runtime.audio.sound import write_wav

    audio = np.concatenate([np.zeros(0, np.float32), *(chunk.audio for chunk in spoken)])
    if not all(chunk.finished for chunk in spoken):
        print("warning: the model did not stop by itself; a bound cut it", file=sys.stderr)
    elif not spoken:
        print("the model answered in text alone", file=sys.stderr)
    if output and len(audio):
        write_wav(output, audio, loaded.sample_rate)
        print(f"wrote {output}", file=sys.stderr)


def _check_output(output: str | None) -> None:
    if output is None:
        return
    check_target(output)
    if not output.lower().endswith(".wav"):
        raise UserError(f"{output}: only WAV files can be written; end its name in .wav")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(chat, argv)


if __name__ == "__main__":
    sys.exit(main())
