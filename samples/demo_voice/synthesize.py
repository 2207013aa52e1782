"""Let a teacher voice read sentences: the audio corpus that the demo voice is trained on.

In: a text file, one sentence a line. Empty lines and lines that start with # are skipped; if a line
has a tab, the text after it is read.
Out: a folder of shards. A shard holds one FLAC file for each sentence (16 kHz, mono, 16 bits) and
`metadata.jsonl`, one line for each recording:

    {"file": "000042.flac", "uttid": "heart_000042", "speaker": "heart", "text": "The sentence.",
     "phonemes": "ðə sˈɛntəns.", "symbol_frames": [12, 5, …, 9]}

`symbol_frames` counts frames of 200 samples: silence before the first phoneme, every character of
`phonemes`, silence after the last. Their sum is the length of the recording. Voices whose durations
are unknown (samples/demo_voice/teachers.py) leave it out.

Sentences that the teacher would split are left out. A shard appears whole or not at all, so the
same command goes on where it stopped. This module does not know speech tokens.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import Pool, TimeoutError
from pathlib import Path
from typing import Any, Protocol

from commands.arguments import CommandParser, command_parser
from commands.extras import importing
from commands.interruption import Interruption
from commands.options import GOES_ON, add_count, add_limit, add_max_minutes
from commands.progress import progress
from commands.run import run_command
from formats.files.atomic import write_text
from formats.files.folders import FolderKind, publish_folder, unpublished_folder

with importing():
    from evaluation.sentences import read_sentences
    from samples.demo_voice.teachers import SAMPLE_RATE_HZ, SPEAKERS, Teacher, make_teacher

SENTENCES_PER_SHARD = 250
SHARD = FolderKind("shard")

_teacher: Teacher | None = None  # one for each worker process


class Results(Protocol):
    """What a pool's `imap_unordered` returns."""

    def next(self, timeout: float) -> int: ...


def start_worker(speaker: str) -> None:
    """Load the teacher. The main process handles Ctrl-C, and ends the workers with SIGTERM."""
    global _teacher
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _teacher = make_teacher(speaker)


def synthesize_shard(job: tuple[Path, int, list[str]]) -> int:
    """Read the sentences of one shard; returns how many recordings it holds."""
    folder, first_index, sentences = job
    assert _teacher is not None, "start_worker() runs first"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unpublished_folder(folder, SHARD) as partial:
        found = [
            synthesize_sentence(_teacher, partial, index, sentence)
            for index, sentence in enumerate(sentences, first_index)
        ]
        lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in found if line is not None]
        write_text(partial / "metadata.jsonl", "".join(lines))
        publish_folder(partial, folder, SHARD)
    return len(lines)


def synthesize_sentence(
    teacher: Teacher, folder: Path, index: int, sentence: str
) -> dict[str, Any] | None:
    """Write one recording and return its metadata; None if the teacher cannot read it whole."""
    import soundfile

    phonemes = teacher.phonemize(sentence)
    if not phonemes:
        return None
    audio, symbol_frames = teacher.read(sentence, phonemes, seed=index)
    name = f"{index:06d}.flac"
    soundfile.write(folder / name, audio, SAMPLE_RATE_HZ)
    described = {
        "file": name,
        "uttid": f"{teacher.speaker}_{index:06d}",
        "speaker": teacher.speaker,
        "text": sentence,
        "phonemes": phonemes,
    }
    return described if symbol_frames is None else {**described, "symbol_frames": symbol_frames}


def plan_shards(
    sentences: list[str], corpus: Path, skipped: int = 0
) -> list[tuple[Path, int, list[str]]]:
    """The shards that are still missing: (folder, index of its first sentence, sentences).

    `skipped` sentences come before the given ones.
    """
    jobs = []
    for first in range(0, len(sentences), SENTENCES_PER_SHARD):
        folder = corpus / f"shard_{first // SENTENCES_PER_SHARD:04d}"
        if not folder.is_dir():
            jobs.append((folder, skipped + first, sentences[first : first + SENTENCES_PER_SHARD]))
    return jobs


def run(arguments: argparse.Namespace) -> None:
    """Read all sentences of the shards that are missing."""
    interruption = Interruption(arguments.max_minutes)
    make_teacher(arguments.speaker)  # a missing package is reported here, not by a worker
    listed = read_sentences(arguments.sentences)[arguments.skip :][: arguments.limit]
    sentences = [sentence.reading for sentence in listed]
    jobs = plan_shards(sentences, arguments.corpus, arguments.skip)
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    message = f"{arguments.corpus} keeps whole shards; go on with: {arguments.command_line}"
    written = 0
    with (
        interruption,
        Pool(arguments.workers, start_worker, (arguments.speaker,)) as pool,
        progress("read shards of sentences", len(jobs), to_stderr=True) as stage,
    ):
        found = pool.imap_unordered(synthesize_shard, jobs)
        for _ in jobs:
            written += wait_for(found, lambda: interruption.leave_if_requested(message))
            stage.advance()
    print(f"{written} new recordings in {arguments.corpus}")


def wait_for(found: Results, check: Callable[[], None]) -> int:
    """The next result; `check` is called every second until it is there."""
    while True:
        check()
        try:
            return found.next(timeout=1.0)
        except TimeoutError:
            continue


def make_parser() -> CommandParser:
    parser = command_parser(
        "samples.demo_voice.synthesize", f"Let a teacher voice read sentences. Stopped, {GOES_ON}."
    )
    add = parser.add_argument
    add("sentences", type=Path, metavar="FILE", help="text file, one sentence a line")
    add("corpus", type=Path, metavar="DIR", help="folder to write, or to go on with")
    add("--speaker", choices=SPEAKERS, default="heart", help="(default: heart)")
    add_count(parser, "--workers", "processes", default=2)
    add_count(parser, "--skip", "leave out the first N sentences", default=0, least=0)
    add_limit(parser, "sentences")
    add_max_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
