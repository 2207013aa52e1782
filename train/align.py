"""Durations of symbols for recordings without them: `python -m train.align AUDIO --output DIR`.

In: folders of recordings (train/recordings.py has their two forms) and their texts. Out: a folder
of recordings that every other command reads, with `symbol_frames` (train/aligned_folder.py).
Durations that are known already are kept. Recordings that cannot be aligned are told and counted,
and stay in the folder without durations.

With `--compare` nothing is written: durations are found for the recordings whose durations are
known, without looking at them, and a table says how far off they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import CommandParser
from runtime.errors import UserError, run_cli

if TYPE_CHECKING:
    import numpy as np

    from train.aligner import AlignableUtterance, Aligner
    from train.recordings import Recording

METHODS = ("learned", "diagonal")
FRAME_MS = 12.5
MAX_SECONDS = 30.0
SILENCE, FIRST_CHARACTER = 1, 2  # symbol ids; 0 is padding
RECORDINGS_PER_CHUNK = 512


@dataclass(frozen=True)
class Script:
    """A recording and what is said in it, a character a symbol."""

    recording: Recording
    characters: str

    @property
    def known_frames(self) -> tuple[int, ...] | None:
        """Durations of just these characters, if the metadata has them."""
        counted = self.recording.phonemes or self.recording.text
        return self.recording.symbol_frames if counted == self.characters else None


class ScriptReader:
    """Writes recordings' texts as symbols: phonemes, or spelling without regard to case."""

    def __init__(self, frontend: str, language: str) -> None:
        from runtime.text import make_frontend

        self._phonemize = make_frontend({"kind": frontend, "language": language})
        self._uses_phonemes = frontend != "none"
        self._ids: dict[str, int] = {}

    def read(self, recordings: Sequence[Recording]) -> list[Script]:
        """Recordings without a usable text are told and left out."""
        scripts = []
        for recording in recordings:
            try:
                scripts.append(Script(recording, self._characters(recording)))
            except UserError as error:
                tell(f"{recording.path}: {error}")
        for script in scripts:
            for character in script.characters:
                self._ids.setdefault(self._fold(character), FIRST_CHARACTER + len(self._ids))
        return scripts

    @property
    def alphabet_size(self) -> int:
        return FIRST_CHARACTER + len(self._ids)

    def encode(self, characters: str) -> np.ndarray:
        """Ids int64 [N] of silence, each character, silence."""
        ids = [self._ids[self._fold(character)] for character in characters]
        import numpy as np

        return np.array([SILENCE, *ids, SILENCE], np.int64)

    def _fold(self, character: str) -> str:
        return character if self._uses_phonemes else character.lower()

    def _characters(self, recording: Recording) -> str:
        from train.prompts import normalize_text

        if not (recording.text or "").strip():
            raise UserError("has no text")
        text = str(recording.text).strip()
        if self._uses_phonemes:
            characters = recording.phonemes or self._phonemize(text)
        else:
            characters = text
            if len(normalize_text(text)) != len(text):
                raise UserError("has letters whose capitals are of another length")
        if not characters:
            raise UserError("has no symbols to align")
        return characters


def align(arguments: argparse.Namespace) -> None:
    """Find the durations and write the folder or print the comparison. Raises `UserError`."""
    from train.aligned_folder import AlignedRecording, check_output, write_aligned_folder
    from train.recordings import find_recordings

    if not arguments.compare:
        check_output(arguments.output, arguments.audio)
    found = {folder: find_recordings(folder) for folder in arguments.audio}
    recordings = [recording for group in found.values() for recording in group]
    if len({recording.path for recording in recordings}) < len(recordings):
        raise UserError("a recording is described twice; keep one line of metadata for each file")
    reader = ScriptReader(arguments.frontend, arguments.language)
    scripts = reader.read(recordings)
    if arguments.compare:
        print_comparison(scripts, reader, arguments)
        return
    unknown = [script for script in scripts if arguments.replace or script.known_frames is None]
    durations = {s.recording.path: s.known_frames for s in scripts}
    durations |= find_all_durations(unknown, reader, arguments.method, arguments)
    characters = {s.recording.path: s.characters for s in scripts}
    write_aligned_folder(
        arguments.output,
        {
            folder: [
                AlignedRecording(r, characters.get(r.path), durations.get(r.path)) for r in group
            ]
            for folder, group in found.items()
        },
        phonemes=arguments.frontend != "none",
    )
    count = sum(counts is not None for counts in durations.values())
    print(f"{count} of {len(recordings)} recordings with durations in {arguments.output}")


def find_all_durations(
    scripts: Sequence[Script], reader: ScriptReader, method: str, arguments: argparse.Namespace
) -> dict[Path, tuple[int, ...]]:
    """Durations by the recording's path, of those that can be aligned."""
    from tqdm import tqdm

    from train.alignment import spread_evenly

    if not scripts:
        return {}
    model = learn(scripts, reader, arguments) if method == "learned" else None
    durations: dict[Path, tuple[int, ...]] = {}
    with tqdm(total=len(scripts), unit="recording", desc="aligning") as bar:
        for first in range(0, len(scripts), RECORDINGS_PER_CHUNK):
            chunk = scripts[first : first + RECORDINGS_PER_CHUNK]
            paths, utterances = read_utterances(chunk, reader)
            if model is None:
                found = [
                    spread_evenly(len(u.log_mel), len(u.symbols), u.speech) for u in utterances
                ]
            else:
                found = model.align(utterances)
            for path, counts in zip(paths, found, strict=True):
                durations[path] = tuple(counts.tolist())
            bar.update(len(chunk))
    return durations


def learn(
    scripts: Sequence[Script], reader: ScriptReader, arguments: argparse.Namespace
) -> Aligner:
    """Train on a random choice of recordings, which are held in memory."""
    import numpy as np
    import torch

    from train.aligner import train_aligner

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rng = np.random.default_rng(arguments.seed)
    chosen = rng.permutation(len(scripts))[: arguments.learn_from]
    _, utterances = read_utterances([scripts[index] for index in chosen], reader, quiet=True)
    if not utterances:
        raise UserError("no recording can be aligned")
    return train_aligner(utterances, reader.alphabet_size, arguments.steps, arguments.seed)


def read_utterances(
    scripts: Sequence[Script], reader: ScriptReader, quiet: bool = False
) -> tuple[list[Path], list[AlignableUtterance]]:
    """Paths and features of those that can be aligned; the others are told, unless `quiet`."""
    from runtime.audio import read_recording
    from train.aligner import AlignmentFeatures

    features = AlignmentFeatures()
    paths, utterances = [], []
    for script in scripts:
        path, symbols = script.recording.path, reader.encode(script.characters)
        try:
            utterances.append(features(read_recording(path, MAX_SECONDS), symbols, str(path)))
            paths.append(path)
        except UserError as error:
            if not quiet:
                tell(str(error))
    return paths, utterances


def print_comparison(
    scripts: Sequence[Script], reader: ScriptReader, arguments: argparse.Namespace
) -> None:
    import numpy as np

    from train.alignment import compare_durations, format_errors

    known = {s.recording.path: s.known_frames for s in scripts if s.known_frames is not None}
    if not known:
        raise UserError("no recording has durations of these symbols to compare with")
    chosen = [script for script in scripts if script.recording.path in known]
    found = {}
    for method in METHODS:
        durations = find_all_durations(chosen, reader, method, arguments)
        counts = [np.array(counts) for counts in durations.values()]
        found[method] = compare_durations(counts, [known[path] for path in durations], FRAME_MS)
    print(format_errors(found))


def tell(what: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"not aligned: {what}", file=sys.stderr)


def positive(number: str) -> int:
    """An argument's type: a whole number from 1."""
    if not number.isascii() or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {number!r}")
    return int(number)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m train.align", description=(__doc__ or "").splitlines()[0].split(":")[0]
    )
    parser.add_argument("audio", type=Path, nargs="+", help="folders of recordings")
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--output", type=Path, help="folder to write; it must not exist")
    goal.add_argument(
        "--compare", action="store_true", help="print how far off known durations the methods are"
    )
    parser.add_argument(
        "--frontend", choices=("none", "hibari"), default="none", help="write text as phonemes"
    )
    parser.add_argument("--language", default="en-us", help="of the frontend (default en-us)")
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="learned",
        help="learned (default), or diagonal: evenly through the speech, in seconds",
    )
    parser.add_argument("--replace", action="store_true", help="find known durations anew, too")
    parser.add_argument("--steps", type=positive, default=1000, help="of learning (default 1000)")
    parser.add_argument(
        "--learn-from", type=positive, default=3000, help="recordings at most (default 3000)"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def align_from_arguments(argv: Sequence[str] | None) -> None:
    align(parse_arguments(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(align_from_arguments, argv)


if __name__ == "__main__":
    sys.exit(main())
