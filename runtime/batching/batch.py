"""One run of a batch: which jobs there are, which are left, and what becomes of them.

In: the command's options. Out: an open output folder, and records as they come. A job depends on
its own row and on the settings alone, so its file is the same whoever speaks it and whenever.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from formats.files.hashing import sha256_file
from runtime.batching.crew import speak_all
from runtime.batching.local_crew import LocalCrew
from runtime.batching.output_folder import OutputFolder, Record
from runtime.batching.ray_crew import RayCrew, require_ray
from runtime.batching.results import Job
from runtime.batching.sound_formats import require_format
from runtime.batching.speaking import SpeakerSettings, can_share_weights, is_seeded
from runtime.batching.tables import read_table
from runtime.batching.text_rows import TextRow
from runtime.bundle.manifest import Manifest, read_manifest
from runtime.bundle.names import MANIFEST_FILE as BUNDLE_MANIFEST
from runtime.bundle.names import PACKED_WEIGHTS
from runtime.engines.choices import AUTO, NATIVE, ONNXRUNTIME, PLANS
from runtime.engines.onnxruntime.threads import (
    count_cores,
    cpu_quota,
    usable_processors,
    whole_processors,
)

COPIES_BYTES = 256 * 2**20  # of weights in all workers; more are shared

OpenCrew = Callable[[], AbstractContextManager[LocalCrew | RayCrew]]


class Batch:
    """jobs: all of them, as in the table. left: those that are to be spoken now, longest first.
    where: each row in messages, by id. failed: rows of this run."""

    def __init__(self, rows: Sequence[TextRow], jobs: list[Job], output: OutputFolder) -> None:
        self.jobs, self.output = jobs, output
        self.where = {row.id: row.where for row in rows}
        self.left = output.resume(jobs, {row.id: row.file_stem for row in rows})
        self.left.sort(key=lambda job: -len(job.text))
        self.failed = 0
        self.open_crew: OpenCrew | None = None
        self._spoken_seconds = 0.0

    @property
    def records(self) -> Sequence[Record]:
        return [*self.output.records.values()]

    @property
    def done(self) -> int:
        return len(self.output.records) - self.failed

    @property
    def seconds(self) -> float:
        """Of audio in the folder."""
        return sum(record.seconds or 0.0 for record in self.records)

    def speak(
        self, must_stop: Callable[[], bool], tell: Callable[[str], None]
    ) -> Iterator[tuple[Job, Record]]:
        """Speak what is left, and put each file in its place as soon as it is there. tell: is told
        once what runs the bundle."""
        if not self.left:
            return
        assert self.open_crew is not None
        with self.open_crew() as crew:
            for job, spoken in speak_all(self.left, crew, must_stop, tell):
                record = self.output.keep(job, spoken)
                self.failed += record.error is not None
                self._spoken_seconds += record.seconds or 0.0
                yield job, record

    def describe_speed(self, seconds: float) -> str:
        """For the line of progress."""
        said = f"{self._spoken_seconds / max(seconds, 1e-3):.1f} × real time"
        return f"{said}, {self.failed} failed" if self.failed else said


@contextmanager
def open_batch(arguments: argparse.Namespace) -> Iterator[Batch]:
    """Check everything, then open the folder.

    Raises:
        UserError: no bundle, a faulty table, a folder of other work.
    """
    require_format(arguments.format)
    if arguments.ray is not None:
        require_ray()
    manifest = read_manifest(arguments.engine)
    rows = read_table(arguments.input)
    seeded = is_seeded(manifest, greedy=arguments.greedy)
    seed = arguments.seed or 0
    jobs = [
        Job(row.id, row.text, row.voice, row.with_seed(seed) if seeded else None) for row in rows
    ]
    with OutputFolder(arguments.output, _inputs(arguments, manifest), arguments.format) as output:
        batch = Batch(rows, jobs, output)
        batch.open_crew = _crew(arguments, manifest, len(batch.left))
        yield batch


def _inputs(arguments: argparse.Namespace, manifest: Manifest) -> dict[str, Any]:
    """What every file depends on. Workers and rows are not among it, and neither is the table:
    it may grow, and a row that is another now is spoken again."""
    voice = _voice(arguments, manifest)
    if isinstance(voice, Path):
        voice = sha256_file(voice)
    return {
        "bundle": hashlib.sha256((arguments.engine / BUNDLE_MANIFEST).read_bytes()).hexdigest(),
        "run with": manifest.engine.kind if arguments.run_with == AUTO else arguments.run_with,
        "format": arguments.format,
        "voice": voice,
        "seed": arguments.seed or 0,
        "greedy": arguments.greedy,
        "max steps": arguments.max_steps,
        "strict": arguments.strict,
    }


def _voice(arguments: argparse.Namespace, manifest: Manifest) -> str | Path | None:
    """A file as its whole path: workers may have other working folders."""
    voice: str | None = arguments.voice
    if voice is None or voice in manifest.voices or not Path(voice).is_file():
        return voice
    return Path(voice).resolve()


def _crew(arguments: argparse.Namespace, manifest: Manifest, jobs: int) -> OpenCrew:
    workers = min(jobs, arguments.workers or _default_workers(arguments.run_with, manifest))
    settings = SpeakerSettings(
        engine=arguments.engine.resolve(),
        run_with=arguments.run_with,
        threads=arguments.threads or 1,
        rows=arguments.rows,
        shares_weights=can_share_weights(manifest) and _must_share(arguments, workers),
        voice=None if arguments.voice is None else str(_voice(arguments, manifest)),
        greedy=arguments.greedy,
        max_steps=arguments.max_steps,
        strict=arguments.strict,
        ending=arguments.format,
    )
    if arguments.ray is not None:
        return lambda: RayCrew(settings, arguments.ray, arguments.workers)
    return lambda: LocalCrew(settings, workers)


def _must_share(arguments: argparse.Namespace, workers: int) -> bool:
    """Whether processes of this machine are to share the weights. A copy of its own lies in large
    pages, which are read a few percent faster, so few small copies are no waste. How many actors
    of a cluster a machine has is not known."""
    if arguments.ray is not None:
        return True
    weights = arguments.engine / PACKED_WEIGHTS
    size_bytes = weights.stat().st_size if weights.is_file() else 0  # loading says what is missing
    return workers > 1 and workers * size_bytes > COPIES_BYTES


def _default_workers(run_with: str, manifest: Manifest) -> int:
    if manifest.engine.kind in PLANS or run_with not in (AUTO, NATIVE, ONNXRUNTIME):
        return 1  # of a GPU: it takes many rows better than many processes
    processors = usable_processors()
    cores = count_cores(processors) or len(processors)
    return min(cores, whole_processors(cpu_quota()))
