"""One utterance in time: what each thread does, and what a listener hears of it.

In: the timeline of a subject. Out: rows of calls, chunks as they are played, with the moments when
they are due, and the audio that waits. Once for all of it, and once until soon after first audio.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from runtime.profiling.page.colours import colour_of, swatch
from runtime.profiling.page.markup import Markup, element
from runtime.profiling.page.plots import Plot, Scale
from runtime.profiling.page.quantities import count, duration, tick_duration
from runtime.profiling.report import PlayedChunk, Span, Subject, Timeline
from runtime.profiling.timeline.buffered_audio import begins, buffered_audio, playback_end
from runtime.profiling.timeline.lanes import find_lanes

ROW, LABEL, BAR = 40, 14, 18  # pixels: of a row, of its label, of its bars
HEAD = 16  # pixels: above the rows, for the moment of first audio
WAITING = 44  # pixels: of the audio that waits
MAX_SPANS = 2000  # of a row; more are drawn as columns
COLUMNS = 1000
MAX_DUE = 200  # chunks; of more, only late ones get a tick, because ticks would cover them


@dataclass(frozen=True)
class Row:
    """Calls that do not overlap, but may nest."""

    label: str
    spans: Sequence[Span]


def draw_waterfall(subject: Subject) -> list[Markup]:
    """The pictures of one subject, with their legend."""
    timeline = subject.timeline
    whole = max(timeline.seconds, playback_end(timeline.chunks))
    start = min([0.0, *(span.start for span in timeline.spans)])
    pictures = [_figure(subject, "The whole utterance", start, whole)]
    near = 1.6 * timeline.first_audio
    if near < 0.6 * whole:
        pictures.insert(0, _figure(subject, "Until first audio", start, near))
    return [element("h3", subject.label), _legend(timeline), *pictures]


def _legend(timeline: Timeline) -> Markup:
    names = [*dict.fromkeys(span.name for span in timeline.spans), "playback"]
    items = [element("li", swatch(name), name) for name in names]
    signs = [
        element("li", element("span", class_=f"swatch {sign}", aria_hidden="true"), meaning)
        for sign, meaning in (("due", "due"), ("late", "late: the player waits"))
    ]
    return element("ul", items, signs, class_="legend")


def _figure(subject: Subject, caption: str, start: float, end: float) -> Markup:
    rows = find_rows(subject.timeline.spans)
    chunks = subject.timeline.chunks
    height = HEAD + ROW * (len(rows) + 1) + LABEL + WAITING + 30
    plot = Plot(height, f"{caption}: {subject.label}", _describe(subject.timeline, rows))
    scale = Scale(start, end)
    _draw_axis(plot, scale, height)
    for place, row in enumerate(rows):
        _draw_row(plot, scale, row, HEAD + ROW * place)
    _draw_playback(plot, scale, chunks, HEAD + ROW * len(rows))
    _draw_waiting(plot, scale, chunks, HEAD + ROW * (len(rows) + 1) + 4)
    _draw_first_audio(plot, scale, subject.timeline.first_audio, height)
    crowded = [row for row in rows if len(_within(row, scale)) > MAX_SPANS]
    note = f" More than {MAX_SPANS} calls: a column shows the stage that takes most of it."
    return element(
        "figure",
        element("figcaption", caption, element("span", note, class_="soft") if crowded else None),
        plot.render(),
    )


def _describe(timeline: Timeline, rows: Sequence[Row]) -> str:
    return (
        f"{'; '.join(row.label for row in rows)}; {count(len(timeline.chunks), 'chunk')} of "
        f"{duration(timeline.audio_seconds)} of audio, the first after "
        f"{duration(timeline.first_audio)}, the last computed after {duration(timeline.seconds)}."
    )


def find_rows(spans: Sequence[Span]) -> list[Row]:
    """A row for each track, and more where its calls overlap or come from several threads."""
    rows = []
    for track in dict.fromkeys(span.track for span in spans):
        lanes = find_lanes(span for span in spans if span.track == track)
        for place, lane in enumerate(lanes, 1):
            which = f" ({place} of {len(lanes)})" if len(lanes) > 1 else ""
            rows.append(Row(f"{track}{which}: {count(len(lane.spans), 'call')}", lane.spans))
    return rows


def _draw_axis(plot: Plot, scale: Scale, height: float) -> None:
    for tick in scale.ticks():
        x = scale.place(tick)
        plot.line((x, 0), (x, height - 18), class_="grid")
        anchor = "start" if x < 0.04 else "end" if x > 0.94 else "middle"
        plot.text((x, height - 4), tick_duration(tick, scale.most), anchor, class_="tick")


def _draw_first_audio(plot: Plot, scale: Scale, first_audio: float, height: float) -> None:
    x = scale.place(first_audio)
    plot.line(
        (x, 0), (x, height - 18), class_="moment", tip=f"first audio, {duration(first_audio)}"
    )
    anchor = "end" if x > 0.6 else "start"
    label = f"\N{NO-BREAK SPACE}first audio, {duration(first_audio)}\N{NO-BREAK SPACE}"
    plot.text((x, 11), label, anchor, class_="strong")


def _within(row: Row, scale: Scale) -> list[Span]:
    return [
        span
        for span in row.spans
        if span.start < scale.most and span.start + span.seconds > scale.least
    ]


def _draw_row(plot: Plot, scale: Scale, row: Row, top: float) -> None:
    plot.text((0, top + 11), row.label, class_="label")
    spans = _within(row, scale)
    if len(spans) > MAX_SPANS:
        spans = merge_into_columns(spans, scale)
    for span in spans:
        plot.rect(
            scale.place(span.start),
            scale.place(span.start + span.seconds),
            top + LABEL + 2,
            BAR,
            class_=f"call {colour_of(span.name)}",
            tip=f"{span.name}: {duration(span.seconds)}, from {duration(span.start)}",
        )


def merge_into_columns(spans: Sequence[Span], scale: Scale) -> list[Span]:
    """At most as many spans as there are columns: each has the stage with most time in it."""
    width = (scale.most - scale.least) / COLUMNS
    shares: dict[int, dict[str, float]] = {}
    for span in spans:
        for column, seconds in _columns_of(span, scale.least, width):
            names = shares.setdefault(column, {})
            names[span.name] = names.get(span.name, 0.0) + seconds
    merged: list[Span] = []
    for column, names in sorted(shares.items()):
        name, start = max(names, key=lambda name: names[name]), scale.least + column * width
        begun = merged.pop() if merged and _continues(merged[-1], name, start, width) else None
        first = begun.start if begun else start
        seconds = start + width - first
        track, thread = spans[0].track, spans[0].thread
        merged.append(Span(track=track, name=name, start=first, seconds=seconds, thread=thread))
    return merged


def _continues(span: Span, name: str, start: float, width: float) -> bool:
    return span.name == name and span.start + span.seconds > start - width / 2


def _columns_of(span: Span, least: float, width: float) -> Iterator[tuple[int, float]]:
    """The columns that a span touches, and its seconds in each."""
    end = span.start + span.seconds
    first, last = int((span.start - least) / width), int((end - least) / width)
    for column in range(max(0, first), min(COLUMNS - 1, last) + 1):
        left = least + column * width
        yield column, max(0.0, min(end, left + width) - max(span.start, left))


def _draw_playback(plot: Plot, scale: Scale, chunks: Sequence[PlayedChunk], top: float) -> None:
    late = any(chunk.late > 0 for chunk in chunks)
    kind = "label bad" if late else "label"
    plot.text((0, top + 11), _describe_playback(chunks), class_=kind)
    bars = top + LABEL + 5
    for number, chunk in enumerate(chunks, 1):
        start = scale.place(begins(chunk))
        tip = (
            f"chunk {number}: ready {duration(chunk.ready)}, due {duration(chunk.due)}, "
            f"{count(chunk.frames, 'frame')}, {duration(chunk.audio_seconds)} of audio"
        )
        end = scale.place(begins(chunk) + chunk.audio_seconds)
        shade = "call c5" if number % 2 else "call c5 other"
        plot.rect(start, end, bars, BAR, class_=shade, tip=tip)
        due = scale.place(chunk.due)
        if chunk.late > 0 or len(chunks) <= MAX_DUE:
            plot.line((due, bars - 5), (due, bars + BAR), class_="due")
        if chunk.late > 0:
            tip = f"chunk {number} is late by {duration(chunk.late)}"
            plot.rect(due, start, bars, BAR, class_="late", tip=tip)


def _draw_waiting(plot: Plot, scale: Scale, chunks: Sequence[PlayedChunk], top: float) -> None:
    levels = buffered_audio(chunks)
    most = max((level.seconds for level in levels), default=0.0)
    plot.text((0, top + 11), f"audio that waits, at most {duration(most)}", class_="label")
    if most <= 0:
        return
    bottom = top + LABEL + WAITING
    points = [
        (scale.place(level.time), bottom - (WAITING - 4) * level.seconds / most) for level in levels
    ]
    area = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
    plot.curve(_clipped(area, bottom), closed=True, class_="c5 area")
    plot.line((0, bottom), (1, bottom), class_="grid")


def _clipped(points: Sequence[tuple[float, float]], bottom: float) -> list[tuple[float, float]]:
    """The part of an area that is not to the right of the picture."""
    kept: list[tuple[float, float]] = []
    for (x, y), (later_x, later_y) in pairwise(points):
        kept.append((x, y))
        if later_x > 1:
            y += (later_y - y) * (1 - x) / (later_x - x)
            return [*kept, (1.0, y), (1.0, bottom)]
    return [*kept, points[-1]]


def _describe_playback(chunks: Sequence[PlayedChunk]) -> str:
    late = [chunk.late for chunk in chunks if chunk.late > 0]
    chunk_count = count(len(chunks), "chunk")
    if not late:
        return f"playback: {chunk_count}, none late"
    return f"playback: {chunk_count}, {len(late)} late by up to {duration(max(late))}"
