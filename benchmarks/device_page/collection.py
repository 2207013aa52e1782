"""The folder of reports: what a file may be called, and whether it says what its name says.

In: `DEVICE[-N-threads]-MODEL[-N-heads]-PRECISION.json`, each as `runtime.profile --json` wrote it.
Out: an `Entry` for each bundle of each report, in the order of pages. `keep_report` puts a report
there: without the spans of its timelines, which are most of a report and of no use to a page, and
without the folders of whoever measured.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from commands.errors import UserError
from runtime.engines import observing
from runtime.profiling.report import Report, Stage, Subject, read_report, write_report

MODELS = {"demo": "demo voice", "published": "published size"}
PRECISIONS = ("fp32", "bf16", "fp16", "int8", "fp8", "int4")
_NAME = re.compile(
    r"(?P<device>[a-z0-9]+(-[a-z0-9]+)*?)(-(?P<threads>[1-9]\d*)-threads?)?"
    rf"-(?P<model>{'|'.join(MODELS)})(-(?P<heads>[1-9]\d*)-heads)?"
    rf"-(?P<precision>{'|'.join(PRECISIONS)})"
)
NAME_RULE = "DEVICE[-N-threads]-demo|published[-N-heads]-PRECISION.json, in small letters"
_STEPS = (  # stages that make up a step, by how an engine shows them
    (observing.DEVICE_STEP,),
    (observing.WHOLE_STEP,),
    (observing.STEP, observing.HEAD),
)


@dataclass(frozen=True)
class Entry:
    """One bundle of one report."""

    path: Path
    device: str  # "epyc"
    model: str  # of MODELS
    report: Report
    subject: Subject

    @property
    def step_stages(self) -> tuple[Stage, ...]:
        """The stages that make up a step, backbone and head; none if no stage shows it."""
        stages = {stage.name: stage for stage in self.subject.stages}
        for names in _STEPS:
            if stages.keys() >= {*names}:
                return tuple(stages[name] for name in names)
        return ()

    @property
    def step_seconds(self) -> float | None:
        """The median of a step."""
        return sum(stage.seconds.p50 for stage in self.step_stages) or None

    @property
    def least_step_seconds(self) -> float | None:
        """What the machine's limits allow; None where they are not known."""
        limits = [stage.limit for stage in self.step_stages if stage.limit is not None]
        return sum(limits) if limits and len(limits) == len(self.step_stages) else None

    @property
    def limited_by(self) -> str:
        """ "memory" or "products", whatever bounds the backbone."""
        return next((stage.limited_by or "" for stage in self.step_stages), "")

    @property
    def least_real_time_factor(self) -> float | None:
        """Of the language model's steps alone."""
        if self.least_step_seconds is None:
            return None
        subject = self.subject
        return self.least_step_seconds * subject.frames_per_second / subject.frames_per_step


def read_entries(folder: Path) -> list[Entry]:
    """All reports of a folder. Raises `UserError`: a file is no report, or is called wrongly."""
    entries = [entry for path in sorted(folder.glob("*.json")) for entry in _read_entries_of(path)]
    order = {model: place for place, model in enumerate(MODELS)}
    return sorted(
        entries,
        key=lambda one: (
            *(one.device, order[one.model], one.subject.heads),
            *(PRECISIONS.index(one.subject.precision), one.subject.threads, one.subject.kind),
        ),
    )


def keep_report(source: Path, folder: Path, name: str) -> Path:
    """Put a report into the folder. Raises `UserError`: no report, or a name that does not fit."""
    path = folder / (name if name.endswith(".json") else f"{name}.json")
    report = read_report(source)
    _check_name(path, report)
    subjects = tuple(_without_bulk(subject) for subject in report.subjects)
    folder.mkdir(parents=True, exist_ok=True)
    command = shlex.join(_last_part(word) for word in shlex.split(report.command))
    write_report(path, msgspec.structs.replace(report, command=command, subjects=subjects))
    return path


def _read_entries_of(path: Path) -> Sequence[Entry]:
    report = read_report(path)
    said = _check_name(path, report)
    return [
        Entry(path, said["device"].replace("-", " "), said["model"], report, subject)
        for subject in report.subjects
    ]


def _check_name(path: Path, report: Report) -> dict[str, str]:
    """The parts of the name. Raises `UserError` if the report is of something else."""
    match = _NAME.fullmatch(path.name.removesuffix(".json"))
    if match is None:
        raise UserError(f"{path}: is called by no rule; call it {NAME_RULE}")
    said = {part: text for part, text in match.groupdict().items() if text is not None}
    for subject in report.subjects:
        for part in ("threads", "heads", "precision"):
            found = str(getattr(subject, part))
            if part in said and said[part] != found:
                raise UserError(f"{path}: its name says {part} {said[part]}, the report {found}")
        if subject.precision not in PRECISIONS:
            raise UserError(f"{path}: precision {subject.precision} is none of {PRECISIONS}")
    return said


def _without_bulk(subject: Subject) -> Subject:
    timeline = msgspec.structs.replace(subject.timeline, spans=())
    return msgspec.structs.replace(subject, folder=_last_part(subject.folder), timeline=timeline)


def _last_part(path: str) -> str:
    """Of a path of any system; other words stay."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
