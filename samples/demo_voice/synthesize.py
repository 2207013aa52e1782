"""Let a teacher voice read sentences: the audio corpus that the demo voice is trained on.

In: a text file, one sentence a line; empty lines and those that start with # do not count, and of
a line with a tab only what stands after it, how the sentence is to be read.
Out: a folder of shards. A shard holds one FLAC file a sentence (16 kHz, mono, 16 bits) and
`metadata.jsonl`, one line a recording:

    {"file": "000042.flac", "uttid": "heart_000042", "speaker": "heart", "text": "The sentence.",
     "phonemes": "ðə sˈɛntəns.", "symbol_frames": [12, 5, …, 9]}

`symbol_frames` counts frames of 200 samples: silence before the first phoneme, every character of
`phonemes`, silence after the last. Their sum is the recording's length. Voices that do not tell
their durations (samples/demo_voice/teachers.py) leave it out.

Sentences that the teacher would split are left out. A shard appears under its name only when it
is complete, so a run that was cut off goes on where it stopped. Knows nothing of speech tokens.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from commands.arguments import CommandParser
from commands.extras import importing
from commands.run import run_cli

with importing():
    from evaluation.sentences import read_sentences
    from samples.demo_voice.teachers import SAMPLE_RATE_HZ, SPEAKERS, Teacher, make_teacher

SENTENCES_PER_SHARD = 250

_teacher: Teacher | None = None  # one for each worker process


def start_worker(speaker: str) -> None:
    global _teacher
    _teacher = make_teacher(speaker)


def synthesize_shard(job: tuple[Path, int, list[str]]) -> int:
    """Read one shard's sentences; returns how many recordings it holds."""
    folder, first_index, sentences = job
    assert _teacher is not None, "start_worker() runs first"
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a run that was cut off left
    partial.mkdir(parents=True)
    lines = [
        synthesize_sentence(_teacher, partial, index, sentence)
        for index, sentence in enumerate(sentences, first_index)
    ]
    written = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines if line is not None]
    (partial / "metadata.jsonl").write_text("".join(written), encoding="utf-8")
    partial.rename(folder)
    return len(written)


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


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m samples.demo_voice.synthesize",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("sentences", type=Path, help="text file, one sentence a line")
    parser.add_argument("corpus", type=Path, help="folder to write (goes on if it exists)")
    parser.add_argument("--speaker", choices=SPEAKERS, default="heart", help="(default heart)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first SKIP sentences")
    parser.add_argument("--limit", type=int, help="read only LIMIT sentences")
    return parser.parse_args(argv)


def synthesize_corpus(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    from tqdm import tqdm

    make_teacher(arguments.speaker)  # what is missing is told here, not by a worker
    listed = read_sentences(arguments.sentences)[arguments.skip :][: arguments.limit]
    sentences = [sentence.reading for sentence in listed]
    jobs = plan_shards(sentences, arguments.corpus, arguments.skip)
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    written = 0
    with (
        Pool(arguments.workers, start_worker, (arguments.speaker,)) as pool,
        tqdm(total=len(jobs), unit="shard") as bar,
    ):
        for count in pool.imap_unordered(synthesize_shard, jobs):
            written += count
            bar.update()
    print(f"{written} new recordings in {arguments.corpus}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(synthesize_corpus, argv)


if __name__ == "__main__":
    sys.exit(main())
