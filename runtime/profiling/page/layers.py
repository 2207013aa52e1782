"""Which layers and parts of the model a stage spends its time in.

In: the layers of a subject. Out: a table for each stage: layers as rows, parts as columns, darker
where more time goes. The darkest shade still leaves the figures readable.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.profiling.page.markup import Content, Markup, element
from runtime.profiling.page.quantities import listing, milliseconds, round_number, share
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
    rows: list[Sequence[Content]] = [
        [
            layer,
            *(_cell(found.get((layer, part)), largest) for part in parts),
            *_sums([found[layer, part][0] for part in parts if (layer, part) in found], total),
        ]
        for layer in layers
    ]
    sums = [sum(s for (_, name), (s, _) in found.items() if name == part) for part in parts]
    rows.append(["all layers", *map(milliseconds, sums), milliseconds(total), share(1.0)])
    rows.append(["of the stage", *(share(value / total if total else 0) for value in sums), "", ""])
    caption = f"{stage} of {subject.label}, ms in one call"
    return table(caption, ["layer", *parts, "sum", "of all layers"], rows, "heat")


def _sums(values: Sequence[float], total: float) -> tuple[str, str]:
    return milliseconds(sum(values)), share(sum(values) / total if total else 0)


def _cell(figure: tuple[float, float] | None, largest: float) -> Markup:
    if figure is None:
        return element("td", "")
    seconds, calls = figure
    shade = round(SHADES * seconds / largest) if largest > 0 else 0
    title = f"{round_number(calls)} calls"
    return element("td", milliseconds(seconds), class_=f"h{shade}", title=title)
