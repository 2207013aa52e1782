"""The folder that a batch fills: a file a row, and a manifest.

In: results, in any order. Out: `ID.wav` … and `manifest.jsonl`, which names all rows in the order
of their table. One process at a time writes here, and it can be killed at any moment: a journal
gets what is to be known of a file before the file appears, by one rename, under its name. So a file
that is there is whole and known, and whoever comes next makes only what is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from commands.errors import UserError
from formats.files.atomic import flush
from formats.files.hashing import sha256_file
from formats.files.unfinished_work import differing_inputs, note_inputs
from formats.files.work_folders import try_lock
from runtime.batching.choices import MANIFEST_FILE
from runtime.batching.results import Job, Spoken

WORK_FOLDER = ".batch"  # in the output: inputs, journal, lock, and a file on its way
JOURNAL_FILE = "journal.jsonl"
LOCK_FILE = "lock"
PARTIAL_FILE = "partial"


@dataclass(frozen=True)
class Record:
    """A row of the manifest. file, seconds, sha256: None if it failed. error: why."""

    id: str
    text: str
    voice: str | None
    seed: int | None
    file: str | None = None
    seconds: float | None = None
    finished: bool = False
    sha256: str | None = None
    error: str | None = None
    warnings: Sequence[str] = ()

    def is_of(self, job: Job) -> bool:
        """Whether it tells of the same work."""
        mine = (self.id, self.text, self.voice, self.seed)
        return mine == (job.id, job.text, job.voice, job.seed)


class OutputFolder:
    """Use it as a context. records: of files that are there, and of rows that failed now, by id."""

    def __init__(self, folder: Path, inputs: Mapping[str, Any], ending: str) -> None:
        """inputs: what all files depend on, besides their rows. ending: of the files' names.

        Raises:
            UserError: a folder with other things in it, or one that was begun with other settings.
        """
        self.folder, self.records = folder, dict[str, Record]()
        self._inputs, self._ending = inputs, ending
        self._work = folder / WORK_FOLDER
        self._open = ExitStack()
        self._journal: BinaryIO | None = None

    def __enter__(self) -> OutputFolder:
        check_output(self.folder, self._inputs)
        self._work.mkdir(parents=True, exist_ok=True)
        lock = try_lock(self._work / LOCK_FILE)
        if lock is None:
            raise UserError(f"{self.folder}: another process is filling it; wait for its end")
        self._open.enter_context(lock)
        if not _has_records(self._work):
            note_inputs(self._work, self._inputs)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._journal = None

    def resume(self, jobs: Iterable[Job], stems: Mapping[str, str]) -> list[Job]:
        """Find the files that are there; returns the jobs that are left. stems: of names, by id."""
        self._stems = stems
        noted = _read_records(self._work / JOURNAL_FILE)
        left = []
        for job in jobs:
            record = noted.get(job.id)
            if record is not None and record.is_of(job) and self._is_there(record):
                self.records[job.id] = record
            else:
                left.append(job)
        self._begin_journal()
        return left

    def keep(self, job: Job, spoken: Spoken) -> Record:
        """Put the file of a job in place. A failed one is noted in the manifest, not here: it is
        tried again next time."""
        record = Record(
            job.id, job.text, job.voice, job.seed, error=spoken.error, warnings=spoken.warnings
        )
        if spoken.content is not None:
            record = replace(
                record,
                file=self._file(job),
                seconds=spoken.seconds,
                finished=spoken.finished,
                sha256=hashlib.sha256(spoken.content).hexdigest(),
            )
            self._note(record)
            self._put(self.folder / self._file(job), spoken.content)
        self.records[job.id] = record
        return record

    def write_manifest(self, ids: Iterable[str]) -> None:
        """A line for each row that was done or has failed, in the order of `ids`."""
        lines = [_line(self.records[one]) for one in ids if one in self.records]
        self._put(self.folder / MANIFEST_FILE, b"".join(lines))

    def _put(self, path: Path, content: bytes) -> None:
        """As `write_atomically`, but by one name for all: what a killed process left under it is
        overwritten, because only one process at a time writes here."""
        partial = self._work / PARTIAL_FILE
        partial.write_bytes(content)
        flush(partial)
        partial.replace(path)

    def _file(self, job: Job) -> str:
        return f"{self._stems[job.id]}.{self._ending}"

    def _is_there(self, record: Record) -> bool:
        path = self.folder / f"{self._stems[record.id]}.{self._ending}"
        return record.file == path.name and path.is_file() and sha256_file(path) == record.sha256

    def _begin_journal(self) -> None:
        """Without records of files that are not there, and without a line that was cut."""
        path = self._work / JOURNAL_FILE
        self._put(path, b"".join(map(_line, self.records.values())))
        self._journal = self._open.enter_context(path.open("ab", buffering=0))

    def _note(self, record: Record) -> None:
        assert self._journal is not None, "resume comes first"
        self._journal.write(_line(record))
        os.fsync(self._journal.fileno())


def check_output(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Refuse a folder that cannot be filled, before anything is loaded or made.

    Raises:
        UserError: a file, a folder with other things in it, or one begun with other settings.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder")
    work = folder / WORK_FOLDER
    if folder.is_dir() and not work.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: holds other files; name a new or an empty folder")
    if not _has_records(work):
        return
    differing = differing_inputs(work, inputs)
    if differing or differing is None:
        others = " and another ".join(differing or ["command"])
        raise UserError(
            f"{folder}: was begun with another {others}; give the same command as then, or name "
            "another folder"
        )


def _has_records(work: Path) -> bool:
    """Whether a file was made here: before that, nothing depends on the settings."""
    journal = work / JOURNAL_FILE
    return journal.is_file() and journal.stat().st_size > 0


def _line(record: Record) -> bytes:
    return (json.dumps(asdict(record), ensure_ascii=False) + "\n").encode()


def _read_records(path: Path) -> dict[str, Record]:
    """The last record of each id. A line that was cut by a kill tells of a file that did not come
    to be, so it is left out."""
    if not path.exists():
        return {}
    names = {field.name for field in fields(Record)}
    found = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and names == {*values}:
            found[values["id"]] = Record(**values)
    return found
