"""`python -m runtime.batch`: speak a table of texts into a folder, a file a row.

In: a bundle, and a table (.jsonl, .csv, .parquet, or .txt with a text a line). Out: the files and
`manifest.jsonl`. Whatever ends the command, the same command goes on where it stopped.
`runtime.batching` does the work.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.options import (
    add_count,
    add_engine,
    add_max_minutes,
    add_output,
    add_threads,
)
from commands.progress import progress, tell
from commands.run import run_command
from runtime.batching.choices import DEFAULT_ROWS, FORMATS, MANIFEST_FILE
from runtime.bundle.voice_names import print_voices
from runtime.engines.choices import add_run_with
from runtime.speaking_options import DEFAULT_ENGINE, add_drawing_options, add_voice_options

if TYPE_CHECKING:
    from runtime.batching.batch import Batch

MOST_TOLD = 10  # failed rows; the manifest has them all


def make_parser() -> CommandParser:
    parser = command_parser(
        "runtime.batch",
        "Speak a table of texts into a folder, a file a row.",
        more="Columns of a table: text; if there are any: id (names the file), voice, seed.",
    )
    add_engine(parser, DEFAULT_ENGINE)
    parser.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help="the table: .jsonl, .csv, .parquet, or .txt with a text a line",
    )
    add_output(parser, "folder to fill; a new one, or that of the same command before", "spoken")
    parser.add_argument(
        "--format", choices=FORMATS, default="wav", help="of the files (default: wav)"
    )
    add_max_minutes(parser)
    _add_work(parser.add_argument_group("work"))
    voice = parser.add_argument_group("voice")
    add_voice_options(voice)
    add_drawing_options(voice, "each sentence")
    voice.add_argument(
        "--strict", action="store_true", help="fail a row if a part of it cannot be read"
    )
    return parser


def _add_work(group: argparse._ArgumentGroup) -> None:
    add_count(group, "--workers", "processes (default: one for each core; on a GPU, one)")
    add_count(group, "--rows", f"texts side by side in each (default: up to {DEFAULT_ROWS})")
    add_threads(group, "each worker (default: 1)")
    add_run_with(group)
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="workers are actors of this Ray cluster: auto, local, or ray://HOST:PORT",
    )


def run(arguments: argparse.Namespace) -> None:
    """Speak what is left of the table.

    Raises:
        UserError: a mistake in the options or the table; or rows that failed, after all others.
    """
    if arguments.list_voices:
        print_voices(arguments.engine)
        return
    if arguments.input is None:
        make_parser().error("nothing to say: give a table with --input FILE")
    from runtime.batching.batch import open_batch

    with Interruption(arguments.max_minutes) as interruption, open_batch(arguments) as batch:
        _speak(batch, interruption)
        batch.output.write_manifest(job.id for job in batch.jobs)
        done, count = batch.done, len(batch.jobs)
        if batch.failed + done < count:
            interruption.leave(
                f"stopped: {done} of {count} texts are done in {arguments.output}; "
                f"go on with: {arguments.command_line}"
            )
    _report(batch, arguments.output)


def _speak(batch: Batch, interruption: Interruption) -> None:
    """Longest texts first: at the end all workers are busy with short ones. The time that is left
    is reckoned by characters."""
    total = sum(len(job.text) for job in batch.jobs)
    left = sum(len(job.text) for job in batch.left)
    name = f"speak {len(batch.left)} of {len(batch.jobs)} texts, in characters"
    with progress(name, total, done=total - left, to_stderr=True) as stage:
        for job, record in batch.speak(lambda: interruption.requested, tell):
            if record.error is not None and batch.failed <= MOST_TOLD:
                tell(f"failed: {batch.where[job.id]}, id {job.id!r}: {record.error}")
            stage.note(batch.describe_speed(stage.seconds))
            stage.advance(len(job.text))


def _report(batch: Batch, output: Path) -> None:
    manifest = output / MANIFEST_FILE
    cut = sum(record.error is None and not record.finished for record in batch.records)
    if cut:
        tell(f"warning: a bound cut {cut} of {batch.done} texts: finished is false in {manifest}")
    if batch.failed:
        raise UserError(
            f"{batch.failed} of {len(batch.jobs)} rows failed; {manifest} says why; mend them, and "
            "give the same command again"
        )
    tell(f"{output}: {batch.done} files, {batch.seconds:.1f} s of audio, and {manifest.name}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
