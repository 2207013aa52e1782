"""The first thing to read: how fast, whether that is real time, what bounds it, what disturbs it.

In: a report. Out: a card of figures and sentences for each subject, and the warnings above them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.profiling.page.markup import Content, Markup, element
from runtime.profiling.page.quantities import amount, count, duration, share, significant
from runtime.profiling.report import Report, Stage, Subject

GOOD, BAD = "✓", "✗"


def draw_warnings(report: Report) -> Markup | None:
    """What makes the figures doubtful, before any of them."""
    if not report.noise.warnings:
        return None
    return element(
        "div",
        element("p", element("strong", "⚠ The machine was not quiet. ")),
        element("ul", [element("li", warning) for warning in report.noise.warnings]),
        class_="warning",
        role="note",
    )


def draw_cards(report: Report) -> Markup:
    """The peak memory of a process with several subjects belongs to none of them."""
    alone = len(report.subjects) == 1
    return element("div", [_card(subject, alone) for subject in report.subjects], class_="columns")


def _card(subject: Subject, alone: bool) -> Markup:
    facts = {
        "real-time factor": significant(subject.real_time_factor.p50),
        "first audio": duration(subject.first_audio.p50),
        "peak memory": amount(subject.peak_bytes, "B") if alone and subject.peak_bytes else None,
        "loading": duration(subject.load_seconds),
    }
    return element(
        "article",
        element("h3", subject.label),
        element("p", _engine(subject), class_="soft"),
        element(
            "dl",
            [
                element("div", element("dt", name), element("dd", value))
                for name, value in facts.items()
                if value
            ],
            class_="facts",
        ),
        element("ul", [element("li", sentence) for sentence in _sentences(subject)], class_="said"),
        class_="card",
    )


def _engine(subject: Subject) -> str:
    """What the engine says of itself begins with the bundle's name."""
    said = subject.engine.removeprefix(f"{Path(subject.folder).name}: ")
    return f"{said}; codec in {subject.codec_precision}; {count(subject.runs, 'run')}."


def _sentences(subject: Subject) -> Iterator[Content]:
    yield _verdict(subject)
    yield _first_audio(subject)
    yield _playback(subject)
    yield from _bound(subject)
    if subject.peak_bytes is None:
        yield "Memory was not measured."


def _verdict(subject: Subject) -> Content:
    factor = subject.real_time_factor
    speed = f"{significant(1 / factor.p50)} times real time" if factor.p50 > 0 else "no time"
    if factor.p95 < 1:
        return [
            _sign(GOOD),
            f"Faster than speech: {speed}, real-time factor at p95 {significant(factor.p95)}.",
        ]
    if factor.p50 < 1:
        return [
            _sign(BAD),
            f"Faster than speech at p50 ({speed}), not at p95 ({significant(factor.p95)}).",
        ]
    return [_sign(BAD), f"Slower than speech: {_cost(factor.p50)}."]


def _cost(factor: float) -> str:
    return f"{significant(factor)} s of computing for each second of audio"


def _first_audio(subject: Subject) -> str:
    first = subject.first_audio
    return (
        f"First audio after {duration(first.p50)} at p50 (between {duration(first.low)} and "
        f"{duration(first.high)} with 95 % confidence), {duration(first.p95)} at p95."
    )


def _playback(subject: Subject) -> Content:
    playback = subject.playback
    runs = f"{count(playback.runs, 'run')}"
    if playback.underruns == 0:
        return [_sign(GOOD), f"A player that starts at the first chunk never runs dry, in {runs}."]
    return [
        _sign(BAD),
        f"A player that starts at the first chunk runs dry {count(playback.underruns, 'time')} in "
        f"{runs}, for {duration(playback.longest_wait)} at most.",
    ]


def _bound(subject: Subject) -> Iterator[str]:
    if not subject.stages:
        return
    largest = max(subject.stages, key=lambda stage: stage.share)
    most = f"Most of the time is in {largest.name}: {share(largest.share)} of a run."
    yield f"{most} {_limit(largest)}"


def _limit(stage: Stage) -> str:
    if stage.limit is None or not stage.seconds.p50 > 0:
        return "What bounds it is not known: its bytes and products, or the limits, are missing."
    bound = "reading memory" if stage.limited_by == "memory" else "products"
    reached = share(stage.limit / stage.seconds.p50)
    if stage.limit > stage.seconds.p50:
        return (
            f"It takes less time than the limits allow ({reached}): what it reads stays in the "
            "processor's caches, or the limits were measured too low."
        )
    return f"It is bounded by {bound}, at {reached} of what the machine can do."


def _sign(sign: str) -> Markup:
    kind = "good" if sign == GOOD else "bad"
    return element("span", f"{sign} ", class_=kind, aria_hidden="true")
