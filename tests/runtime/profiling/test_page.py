"""The page of a profile: whole, harmless and complete, whatever the report says."""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from commands.errors import UserError
from runtime.profiling.page import make_page, write_page
from runtime.profiling.page.plots import Scale
from runtime.profiling.page.stages import bin_values
from runtime.profiling.page.waterfall import COLUMNS, MAX_SPANS, merge_into_columns
from runtime.profiling.report import Report, Span
from tests.runtime.profiling.parsed_page import Parsed
from tests.runtime.profiling.sample_report import SPARSE, make_sample_report

REPORT = make_sample_report()
PAGE = make_page(REPORT)
ATTACK = "\"'><script>alert(1)</script><b onclick=alert(1)>&amp;\x00\u202e"
NUMBERS = ("x", "y", "x1", "y1", "x2", "y2", "width", "height", "cx", "cy", "r")


def change(report: Report, to: Callable[[Any], Any]) -> Report:
    """The report with every text, and every name in it, or every figure changed."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {to(k) if k not in FIELDS else k: walk(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [walk(inner) for inner in value]
        return to(value)

    return msgspec.convert(walk(msgspec.to_builtins(report)), Report)


def find_fields(kind: Any) -> set[str]:
    """Names of the fields of the schema, which no file can change."""
    schema = msgspec.json.schema(kind)
    return {name for each in schema["$defs"].values() for name in each.get("properties", {})}


FIELDS = find_fields(Report)


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        names = [name for name in value if name not in FIELDS]
        return names + [text for inner in value.values() for text in texts_of(inner)]
    if isinstance(value, (list, tuple)):
        return [text for inner in value for text in texts_of(inner)]
    return [value] if isinstance(value, str) else []


def test_the_page_is_well_formed() -> None:
    parsed = Parsed(PAGE)
    ids = parsed.values("id")
    assert len(ids) == len(set(ids)) > 5
    targets = [href.removeprefix("#") for href in parsed.values("href")]
    assert targets
    assert set(targets) <= set(ids)
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= level + 1 for level, later in pairwise(levels))


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    parsed = Parsed(PAGE)
    assert not parsed.values("src")
    assert not any("http" in href for href in parsed.values("href"))
    assert not {tag for tag, _ in parsed.elements} & {"link", "img", "iframe", "object", "base"}
    styles = parsed.inside["style"] + " ".join(parsed.values("style"))
    assert "@import" not in styles
    assert set(re.findall(r"url\(([^)]*)\)", styles)) == {"#hatching"}
    assert "hatching" in parsed.values("id")


def test_the_policy_allows_the_pages_own_style_and_script_only() -> None:
    parsed = Parsed(PAGE)
    (policy,) = (
        each["content"]
        for _, each in parsed.elements
        if each.get("http-equiv") == "Content-Security-Policy"
    )
    hashes = [
        "sha256-" + base64.b64encode(hashlib.sha256(parsed.inside[kind].encode()).digest()).decode()
        for kind in ("style", "script")
    ]
    assert policy == (f"default-src 'none'; style-src '{hashes[0]}'; script-src '{hashes[1]}'")


def test_every_text_of_a_report_is_escaped() -> None:
    hostile = change(REPORT, lambda value: value + ATTACK if isinstance(value, str) else value)
    parsed, plain = Parsed(make_page(hostile)), Parsed(PAGE)
    assert [tag for tag, _ in parsed.elements].count("script") == 1
    assert {tag for tag, _ in parsed.elements} == {tag for tag, _ in plain.elements}
    assert {name for _, each in parsed.elements for name in each} == {
        name for _, each in plain.elements for name in each
    }
    assert parsed.text.count("<script>alert(1)</script>") > 50
    assert not re.search("[\x00-\x08\u202a-\u202e]", parsed.text)


def test_the_page_says_every_text_of_the_report() -> None:
    said = html.unescape(PAGE)
    texts = texts_of(msgspec.to_builtins(REPORT))
    assert len(texts) > 100
    assert [text for text in texts if text not in said] == []


def test_tables_name_their_rows_and_columns() -> None:
    parsed = Parsed(PAGE)
    tables = [tag for tag, _ in parsed.elements].count("table")
    assert tables > 8
    assert [tag for tag, _ in parsed.elements].count("caption") == tables
    scopes = [each.get("scope") for tag, each in parsed.elements if tag == "th"]
    assert set(scopes) == {"row", "col"}


def test_pictures_have_titles_and_descriptions() -> None:
    pictures = re.findall(r'<svg class="plot".*?>(.*?)<(?:rect|line|text|svg|circle)', PAGE)
    assert len(pictures) == PAGE.count('<svg class="plot"') > 10
    for picture in pictures:
        assert re.fullmatch("<title>.+</title><desc>.+</desc>", picture)


def test_coordinates_are_finite_and_within_the_picture() -> None:
    parsed = Parsed(PAGE)
    found = 0
    for tag, each in parsed.elements:
        for name in NUMBERS:
            if name in each:
                found += 1
                assert math.isfinite(float(each[name].removesuffix("%"))), (tag, each)
        if tag == "rect" and "x" in each:
            left, width = (float(each[name].removesuffix("%")) for name in ("x", "width"))
            assert left >= 0 <= width
            assert left + width <= 100.01
    assert found > 500
    points = [float(one) for each in parsed.values("points") for one in re.split("[ ,]", each)]
    assert points
    assert all(map(math.isfinite, points))


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e-9, 1.0, 1e9, -1.0])
def test_no_figure_breaks_the_page(value: float) -> None:
    """All of them the same: nothing has a width, or everything has."""
    changed = change(REPORT, lambda each: value if isinstance(each, float) else each)
    text = Parsed(make_page(changed)).text
    assert "nan" not in text.split()
    assert "inf" not in text.split()


def test_what_was_not_measured_is_said() -> None:
    sparse = msgspec.structs.replace(
        REPORT, subjects=REPORT.subjects[1:], limits=(), comparisons=()
    )
    text = Parsed(make_page(sparse)).text
    assert "None" not in text
    for sentence in (
        "Memory was not measured.",
        "No roofline: limits of the machine, or bytes and products of the stages, are missing.",
        f"Not measured: contexts of {SPARSE} and rows of {SPARSE}.",
        f"Layers were not measured of {SPARSE}.",
        "–: not measured.",
        "Left out, with fewer than 8 calls: text, prefill, step, head, codec_chunk.",
    ):
        assert sentence in text
    assert "Comparison" not in text


def test_late_chunks_are_said_and_hatched() -> None:
    late = [chunk.late for chunk in REPORT.subjects[0].timeline.chunks if chunk.late]
    text = Parsed(PAGE).text
    assert f"playback: 12 chunks, {len(late)} late by up to {1000 * max(late):.0f} ms" in text
    assert PAGE.count('class="late"') >= len(late)
    assert "playback: 1 chunk, none late" in text


def test_a_figure_that_is_not_finite_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, REPORT)
    assert path.read_text(encoding="utf-8") == PAGE
    for value in (math.nan, math.inf, 1e300):
        broken = msgspec.structs.replace(
            REPORT, noise=msgspec.structs.replace(REPORT.noise, slowest_clock=value)
        )
        with pytest.raises(UserError, match=r"report\.noise\.slowest_clock is (nan|inf|1e\+300)"):
            write_page(path, broken)
    assert path.read_text(encoding="utf-8") == PAGE
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_report_without_subjects_is_refused() -> None:
    with pytest.raises(UserError, match="no subject"):
        make_page(msgspec.structs.replace(REPORT, subjects=()))


def span(start: float, name: str = "step") -> Span:
    return Span(track="language model", name=name, start=start, seconds=0.9, thread=1)


def test_a_long_utterance_is_drawn_in_columns() -> None:
    spans = tuple(span(float(start), "head" if start % 3 == 0 else "step") for start in range(9000))
    assert len(spans) > MAX_SPANS
    (column,) = merge_into_columns(spans, Scale(0, 9000))
    assert column.name == "step"  # it has most time in each column
    assert column.start == 0
    assert column.seconds == pytest.approx(9000)
    halves = [span(float(start), "head") for start in range(4000)]
    halves += [span(float(start), "step") for start in range(6000, 9000)]
    columns = merge_into_columns(halves, Scale(0, 9000))
    assert [(each.name, each.start) for each in columns] == [
        ("head", 0.0),
        ("step", pytest.approx(6000, abs=9000 / COLUMNS)),
    ]
    assert columns[0].seconds == pytest.approx(4000, abs=9000 / COLUMNS)
    subject = REPORT.subjects[0]
    long = msgspec.structs.replace(subject.timeline, spans=spans, seconds=9000.0)
    page = make_page(
        msgspec.structs.replace(REPORT, subjects=(msgspec.structs.replace(subject, timeline=long),))
    )
    assert "a column shows the stage that takes most of it" in page
    assert len(page) < 600_000


def test_a_histogram_counts_every_call() -> None:
    counts = bin_values([1.0, 1.5, 2.0, 99.0], Scale(1, 2))
    assert sum(counts) == 4
    assert counts[0] == 1
    assert counts[-1] == 2


def find_colours(style: str, dark: bool) -> dict[str, tuple[float, float, float]]:
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    pairs = re.findall(r"--([\w-]+): #([0-9a-f]+);", blocks[1 if dark else 0])
    found = {}
    for name, digits in pairs:
        full = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
        found[name] = tuple(int(full[place : place + 2], 16) / 255 for place in (0, 2, 4))
    return found  # type: ignore[return-value]


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """WCAG 2.2, relative luminance."""

    def luminance(colour: tuple[float, float, float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_enough_to_read(dark: bool) -> None:
    style = Parsed(PAGE).inside["style"]
    colours = find_colours(style, dark)
    for name in ("ink", "soft", "link", "good", "bad"):
        assert contrast(colours[name], colours["page"]) >= 4.5, name
    for name in ("ink", "link"):
        assert contrast(colours[name], colours["panel"]) >= 4.5, name
    assert contrast(colours["ink"], colours["warn-page"]) >= 4.5
    for place in range(9):  # of graphics: WCAG asks for 3
        assert contrast(colours[f"c{place}"], colours["page"]) >= 3, place
    heat = re.findall(r"--heat: (\d+) (\d+) (\d+);", style)[1 if dark else 0]
    strongest = max(int(percent) for percent in re.findall(r"var\(--heat\) / (\d+)%", style)) / 100
    shade = tuple(
        strongest * int(value) / 255 + (1 - strongest) * under
        for value, under in zip(heat, colours["page"], strict=True)
    )
    assert contrast(colours["ink"], shade) >= 4.5  # type: ignore[arg-type]
