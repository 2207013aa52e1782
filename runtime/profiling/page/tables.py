"""Tables of all figures, and of what they were measured on.

In: a report. Out: HTML tables with headings for rows and columns. page.js adds a button that copies
a table as tab-separated values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from runtime.profiling.page.markup import Content, Markup, element, join
from runtime.profiling.page.quantities import (
    NOT_MEASURED,
    amount,
    count,
    duration,
    milliseconds,
    round_number,
    share,
    significant,
)
from runtime.profiling.report import Report, Stage, Subject, Summary

SUMMARY_COLUMNS = ("count", "mean", "least", "p50", "p95", "p99", "p50 between (95 %)")
NO_SUMMARY = (NOT_MEASURED,) * len(SUMMARY_COLUMNS)
LEFT_OUT = f"{NOT_MEASURED}: not measured."


def table(
    caption: str, columns: Sequence[Content], rows: Iterable[Sequence[Content]], kind: str = ""
) -> Markup:
    """A table that scrolls by itself if it is too wide. The first cell of a row is its heading."""
    listed = [list(row) for row in rows]
    head = element("tr", [element("th", column, scope="col") for column in columns])
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [cell if _is_cell(cell) else element("td", cell) for cell in row[1:]],
        )
        for row in listed
    ]
    written = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", body),
        class_=f"data {kind}".strip(),
    )
    noted = element("p", LEFT_OUT, class_="note") if f">{NOT_MEASURED}<" in join(body) else None
    return join(
        [
            element(
                "div", written, class_="scroll", tabindex="0", role="region", aria_label=caption
            ),
            noted,
        ]
    )


def _is_cell(content: Content) -> bool:
    return isinstance(content, Markup) and content.startswith("<td")


def summary_cells(summary: Summary | None) -> tuple[str, ...]:
    """Of times, in milliseconds."""
    if summary is None:
        return NO_SUMMARY
    values = (summary.mean, summary.least, summary.p50, summary.p95, summary.p99)
    between = f"{milliseconds(summary.low)} to {milliseconds(summary.high)}"
    return (str(summary.count), *map(milliseconds, values), between)


def draw_tables(report: Report) -> list[Markup]:
    """All figures of the report that no picture has written out."""
    return [
        _subjects(report.subjects),
        _times(report.subjects),
        *(_stages(subject) for subject in report.subjects),
        *_points(report.subjects),
        _limits(report),
    ]


def _subjects(subjects: Sequence[Subject]) -> Markup:
    """Figures as rows, subjects as columns."""
    rows: dict[str, Sequence[Content]] = {
        "engine": [subject.engine for subject in subjects],
        "bundle": [subject.folder for subject in subjects],
        "SHA-256 of its manifest": [element("code", s.bundle_sha256) for s in subjects],
        "kind of engine": [subject.kind for subject in subjects],
        "run with": [subject.run_with for subject in subjects],
        "precision": [subject.precision for subject in subjects],
        "codec's precision": [subject.codec_precision for subject in subjects],
        "heads": [str(subject.heads) for subject in subjects],
        "frames per step": [round_number(s.frames_per_step) for s in subjects],
        "frames per second": [round_number(s.frames_per_second) for s in subjects],
        "threads": [str(subject.threads) for subject in subjects],
        "runs": [str(subject.runs) for subject in subjects],
        "loading": [duration(subject.load_seconds) for subject in subjects],
        "memory after the runs": [amount(s.resident_bytes, "B") for s in subjects],
        "peak memory of the process so far": [amount(s.peak_bytes, "B") for s in subjects],
        "weights read by a step": [amount(s.step_bytes, "B") for s in subjects],
        "audio of a run": [duration(subject.audio_seconds) for subject in subjects],
        "outside the stages": [share(subject.outside_stages) for subject in subjects],
        "underruns, in all runs": [
            f"{s.playback.underruns} in {s.playback.runs}" for s in subjects
        ],
        "longest underrun": [duration(s.playback.longest_wait) for s in subjects],
    }
    return table(
        "Bundles and engines",
        ["", *(subject.label for subject in subjects)],
        ([name, *cells] for name, cells in rows.items()),
        "words",
    )


def _times(subjects: Sequence[Subject]) -> Markup:
    rows = [(s.label, *cells) for s in subjects for cells in _subject_times(s)]
    return table("Latency and speed", ["", "figure", *SUMMARY_COLUMNS], rows, "named")


def _subject_times(subject: Subject) -> list[tuple[str, ...]]:
    factor = subject.real_time_factor
    values = (factor.mean, factor.least, factor.p50, factor.p95, factor.p99)
    between = f"{significant(factor.low)} to {significant(factor.high)}"
    return [
        ("first audio, ms", *summary_cells(subject.first_audio)),
        ("real-time factor", str(factor.count), *map(significant, values), between),
        ("between chunks, ms", *summary_cells(subject.playback.gaps)),
        ("spare before a deadline, ms", *summary_cells(subject.playback.spare)),
    ]


def _stages(subject: Subject) -> Markup:
    columns = [
        *("stage", "what it is", *SUMMARY_COLUMNS, "share of a run", "calls per run"),
        *("bytes read", "MACs", "products in", "least by the limits, ms", "limited by"),
    ]
    rows = [_stage_row(stage) for stage in subject.stages]
    return table(f"Stages of {subject.label}, in ms", columns, rows, "named")


def _stage_row(stage: Stage) -> Sequence[Content]:
    return [
        *(stage.name, stage.meaning, *summary_cells(stage.seconds)),
        *(share(stage.share), round_number(stage.calls_per_run)),
        *(amount(stage.read_bytes, "B"), amount(stage.macs, "")),
        *(stage.number_format or NOT_MEASURED, milliseconds(stage.limit)),
        stage.limited_by or NOT_MEASURED,
    ]


def _points(subjects: Sequence[Subject]) -> list[Markup]:
    rows = [
        [subject.label, str(point.context), str(point.rows), *summary_cells(point.seconds)]
        for subject in subjects
        for point in chain(subject.contexts, subject.rows)
    ]
    columns = ["", "context", "rows", *SUMMARY_COLUMNS]
    return [table("Steps by context and rows, in ms", columns, rows)] if rows else []


def _limits(report: Report) -> Markup:
    rows = [
        [
            count(limits.threads, "thread"),
            amount(limits.read_bytes_per_second, "B/s"),
            amount(limits.fp32_macs_per_second, "MAC/s"),
            amount(limits.bf16_macs_per_second, "MAC/s"),
            amount(limits.int8_macs_per_second, "MAC/s"),
            limits.measured_by,
        ]
        for limits in report.limits
    ]
    columns = ["", "reading memory", "products in fp32", "in bf16", "in int8", "measured by"]
    return table("Limits of the machine", columns, rows)


def draw_machine(report: Report) -> list[Markup]:
    """Where and how it was measured."""
    machine, noise = report.machine, report.noise
    facts = [
        ("processor", machine.processor),
        ("architecture", machine.architecture),
        ("processors", str(machine.processors)),
        ("features", ", ".join(machine.features) or NOT_MEASURED),
        ("GPU", machine.gpu or "none, or not used"),
        ("memory", amount(machine.memory_bytes, "B")),
        ("system", machine.system),
        ("Python", machine.python),
        *sorted(machine.packages.items()),
    ]
    noises = {
        "other programs' share of the processors": share(noise.others_share),
        "stolen by the host": share(noise.stolen_share),
        "slowest clock, of the best": share(noise.slowest_clock),
        "times throttled": NOT_MEASURED if noise.throttled is None else str(noise.throttled),
        "busiest other programs": "; ".join(noise.busiest_others) or "none",
    }
    return [
        element("h3", "Command"),
        element("pre", element("code", report.command)),
        element("h3", "Text"),
        element("blockquote", report.text),
        table("Machine", ["", ""], facts, "words"),
        table("Noise while it was measured", ["", ""], noises.items(), "words"),
    ]
