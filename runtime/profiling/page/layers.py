"""Which layers and parts of the model a stage spends its time in.

In: the layers of a subject. Out: a table for each stage: layers as rows, parts as columns, darker
where more time goes. The darkest shade still leaves the figures readable.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.profiling.page.markup import Content, Markup, element
from runtime.profiling.page.quantities import duration_unit, listing, round_number, share
from runtime.profiling.page.tables import table
from runtime.profiling.report import Subject

SHADES = 8  # classes of page.css


def draw_layers(subjects: Sequence[Subject]) -> list[Markup]:
    tables = [
        _heat(subject, stage)
        for subject in subjects
        for stage in dict.fromkeys(layer.stage for layer in subject.layers)
    ]
    missing = [subject.label for subject in subjects if not subject.layers]
    note = f"Layers were not measured of {listing(missing)}."
    return [*tables, element("p", note, class_="note") if missing else Markup("")]


def _heat(subject: Subject, stage: str) -> Markup:
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for layer in subject.layers:
        if layer.stage == stage:
            seconds, calls = found.get((layer.layer, layer.part), (0.0, 0.0))
            found[layer.layer, layer.part] = seconds + layer.seconds, calls + layer.calls
    layers = list(dict.fromkeys(layer for layer, _ in found))
    parts = list(dict.fromkeys(part for _, part in found))
    largest, total = max(s for s, _ in found.values()), sum(s for s, _ in found.values())
    column = Column(largest)
    rows: list[Sequence[Content]] = [
        [
            layer,
            *(_cell(found.get((layer, part)), column) for part in parts),
            *_sums([s for (name, _), (s, _) in found.items() if name == layer], total, column),
        ]
        for layer in layers
    ]
    sums = [sum(s for (_, name), (s, _) in found.items() if name == part) for part in parts]
    rows.append(["all layers", *map(column.text, sums), *_sums([total], total, column)])
    rows.append(["of all parts", *(share(_part(value, total)) for value in sums), "", ""])
    caption = f"{stage} of {subject.label}, {column.unit} in one call"
    return table(caption, ["layer", *parts, "sum", "of all layers"], rows, "heat")


class Column:
    """Times with one unit and as many decimals, so that figures can be compared at a glance."""

    def __init__(self, largest: float) -> None:
        self.largest = largest
        self._scale, self.unit = duration_unit(largest)
        self._decimals = 1 if largest * self._scale >= 100 else 2

    def text(self, seconds: float) -> str:
        return f"{seconds * self._scale:,.{self._decimals}f}"


def _sums(values: Sequence[float], total: float, column: Column) -> tuple[str, str]:
    return column.text(sum(values)), share(_part(sum(values), total))


def _part(value: float, total: float) -> float:
    return value / total if total else 0.0


def _cell(figure: tuple[float, float] | None, column: Column) -> Markup:
    if figure is None:
        return element("td", "")
    seconds, calls = figure
    shade = max(0, round(SHADES * _part(seconds, column.largest)))
    title = f"{round_number(calls)} calls"
    return element("td", column.text(seconds), class_=f"h{shade}", title=title)
