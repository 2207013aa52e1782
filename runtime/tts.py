"""Command line: speak text with an exported bundle.

In: an engine directory and text (an argument, a text file, or - for standard input).
Out: a WAV file, sound, or raw PCM on standard output; files appear whole or not at all.
Everything else happens in `runtime.speech.synthesis`.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli
from commands.standard_streams import ReaderLeft, output_is_closed, reader_has_left, write_bytes
from formats.files.atomic import check_target, require_two_files
from runtime.bundle.voice_names import print_voices
from runtime.engines.choices import add_run_with
from runtime.text.typed_text import drop_terminal_codes

if TYPE_CHECKING:
    from runtime.speech.sampling import Sampling
    from runtime.speech.spoken import Chunk
    from runtime.speech.synthesis import TTS

SECONDS_BETWEEN_LINES = 60.0  # where no line can be rewritten
END_OF_INPUT = "Ctrl-Z and Enter" if sys.platform == "win32" else "Ctrl-D"
MAX_INPUT_BYTES = (
    100_000  # as runtime.text.typed_text.MAX_TEXT_BYTES: looked at before a file is read
)
TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_BREAK = b"\r\n"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # text that can be converted, for all its zeros
NO_TEXT = (b"%PDF-", b"{\\rtf", b"%!PS", b"PK\x03\x04", b"\x1f\x8b", b"\x89PNG", b"\xff\xd8\xff")
_SENTENCE_SIGNS = re.compile(r"[,;:!?\"]|\.\s|\n")  # in a file's name, hardly ever


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m runtime.tts",
        description="Speak text with an exported engine.",
        epilog="Settings that are left out come from the engine's manifest.",
    )
    parser.add_argument("text", nargs="?", help="what to say; a text file; or - for stdin")
    parser.add_argument("--engine", default="engine", metavar="DIR", help="default: engine")
    add_run_with(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: the physical cores")
    parser.add_argument(
        "--strict", action="store_true", help="refuse text that cannot be read whole"
    )
    _add_output(parser.add_argument_group("output (at least one)"))
    _add_sampling(parser.add_argument_group("voice and sampling"))
    arguments = parser.parse_args(argv)
    if arguments.text is None and not arguments.list_voices:
        parser.error("nothing to say: give the text in quotes, a text file, or - for stdin")
    return arguments


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-o", "--output", metavar="FILE", help="write a .wav file")
    group.add_argument("--play", action="store_true", help="play while it is being made")
    group.add_argument("--raw", action="store_true", help="stream 16-bit PCM to standard output")
    group.add_argument("--frames-out", metavar="FILE", help="write the speech frames as JSON")


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--voice", metavar="NAME|FILE", help="a voice of the engine, or a file")
    group.add_argument("--list-voices", action="store_true", help="print the engine's; say nothing")
    group.add_argument("--greedy", action="store_true", help="take the best code, draw nothing")
    group.add_argument("--temperature", type=float, metavar="T")
    group.add_argument("--top-k", type=int, metavar="K")
    group.add_argument("--top-p", type=float, metavar="P")
    group.add_argument("--repetition-penalty", type=float, metavar="R")
    group.add_argument("--seed", type=int, metavar="N", help="the same seed, the same audio")
    group.add_argument("--max-steps", type=int, metavar="N", help="bound for each sentence")


def speak(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    if arguments.list_voices:
        print_voices(arguments.engine)
        return
    _check_outputs(arguments)
    if arguments.text == "-" and sys.stdin.isatty():
        print(f"type the text, then {END_OF_INPUT}", file=sys.stderr)
    text = read_text(arguments.text)
    from runtime.speech.schedule import least_work, soon_heard
    from runtime.speech.synthesis import TTS

    sampling = _sampling(arguments)
    tts = TTS.load(arguments.engine, arguments.run_with, arguments.threads)
    print(tts.describe(), file=sys.stderr)
    is_heard = arguments.play or arguments.raw
    progress = Progress(tts.sample_rate, is_heard)
    chunks = tts.stream(
        text,
        voice=arguments.voice,
        sampling=sampling,
        max_steps=arguments.max_steps,
        schedule=(soon_heard if is_heard else least_work)(tts.bundle.manifest.codec),
        strict=arguments.strict,
    )
    with progress:
        spoken = _emit(tts, progress.watch(chunks), arguments)
    if arguments.raw and reader_has_left():
        print("the reader of --raw left before the end; the files are whole", file=sys.stderr)
    _write_files(spoken, tts.sample_rate, arguments)
    if not all(chunk.finished for chunk in spoken):
        print("warning: the model did not stop by itself; a bound cut it", file=sys.stderr)


def read_text(argument: str) -> str:
    """The text that the command line names: a file's, if there is one of that name.

    A file's text loses a byte order mark and the line break at its end, nothing else; colours and
    other codes for terminals are dropped from any text.

    Raises:
        UserError: a folder, or a file that is missing, too large, no text, or not UTF-8 encoded.
    """
    if argument == "-":
        return drop_terminal_codes(_decode(sys.stdin.buffer, "standard input"))
    if os.path.isdir(argument):  # False for text of any length
        raise UserError(f"{argument}: is a folder; name a text file, or say more than its name")
    if os.path.exists(argument):
        with Path(argument).open("rb") as file:
            return drop_terminal_codes(_decode(file, argument))
    if argument.lower().endswith(TEXT_SUFFIXES) and not _SENTENCE_SIGNS.search(argument):
        raise UserError(f"{argument}: no such text file; text to speak ends with a full stop")
    return drop_terminal_codes(argument)


def _decode(file: BinaryIO, where: str) -> str:
    content = file.read(len(BYTE_ORDER_MARK) + MAX_INPUT_BYTES + len(LINE_BREAK) + 1)
    content = content.removeprefix(BYTE_ORDER_MARK).removesuffix(b"\n").removesuffix(b"\r")
    if content.startswith(NO_TEXT) or (b"\0" in content and not content.startswith(UTF_16)):
        raise UserError(f"{where}: is not text; name a text file")
    if len(content) > MAX_INPUT_BYTES:
        raise UserError(f"{where}: the limit is {MAX_INPUT_BYTES} bytes; cut it up")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{where}: is not UTF-8 text; convert it") from None
    return text


def _check_outputs(arguments: argparse.Namespace) -> None:
    if not (arguments.output or arguments.play or arguments.raw or arguments.frames_out):
        raise UserError("nothing to do with the speech: give -o FILE.wav, --play or --raw")
    if arguments.raw and arguments.play:
        raise UserError("--raw and --play cannot be used together; take one")
    if arguments.raw and output_is_closed():
        raise UserError("--raw writes to standard output, which is closed; redirect it: > FILE")
    if arguments.raw and sys.stdout.isatty():
        raise UserError("--raw writes binary data to a terminal; redirect it: --raw > FILE")
    for path in (arguments.output, arguments.frames_out):
        if path:
            check_target(path)
    if arguments.output and not arguments.output.lower().endswith(".wav"):
        raise UserError(f"{arguments.output}: only WAV files can be written; end its name in .wav")
    if arguments.output and arguments.frames_out:
        require_two_files(arguments.output, arguments.frames_out)
    if arguments.play:
        from runtime.audio.playback import require_player

        require_player()


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
    """Hand every chunk on as soon as it is there; returns them all.

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

    The time to first audio is told if somebody listens (`is_heard`).
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
        """End with the totals; if it was broken off, only with the line that is being written."""
        if kind is None and self._is_live:
            self._rewrite(self._speed())
        elif kind is None:
            print(self._speed(), file=sys.stderr)
        if self._is_live and self._width:
            print(file=sys.stderr)

    def _rewrite(self, line: str) -> None:
        """In one row: a terminal would break a longer line, and only its end would be rewritten."""
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
    return run_cli(speak, argv)


if __name__ == "__main__":
    sys.exit(main())
