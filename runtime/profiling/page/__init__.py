"""A profile's report as one HTML file that needs neither a network nor a program beside a browser.

In: a `Report`. Out: a page with style, script and pictures in it. It opens from a folder, in light
and dark, is printed in light, and works without its script, which only copies tables and shows
tips faster. A policy in the page forbids everything that is not in it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from commands.errors import UserError
from formats.files.atomic import write_text
from runtime.profiling.page.comparisons import draw_comparisons
from runtime.profiling.page.first_audio import draw_first_audio
from runtime.profiling.page.headline import draw_cards, draw_warnings
from runtime.profiling.page.layers import draw_layers
from runtime.profiling.page.lines import draw_lines
from runtime.profiling.page.markup import Content, Markup, element, join
from runtime.profiling.page.quantities import listing
from runtime.profiling.page.roofline import draw_roofline
from runtime.profiling.page.stages import draw_histograms, draw_shares
from runtime.profiling.page.tables import draw_machine, draw_tables
from runtime.profiling.page.waterfall import draw_waterfall
from runtime.profiling.plausible import require_plausible
from runtime.profiling.report import Report

# Hatching cannot be had from CSS alone in SVG; each picture may refer to it.
_HATCHING = Markup(
    '<svg width="0" height="0" class="hidden" aria-hidden="true"><defs><pattern id="hatching" '
    'width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" class="hatched"/><rect width="2.5" height="6" class="hatch"/>'
    "</pattern></defs></svg>"
)


def write_page(path: str | Path, report: Report) -> None:
    """Write the page; the file appears whole or not at all.

    Raises:
        UserError: the report has no subject, or a figure that nobody can have measured.
    """
    write_text(path, make_page(report))


def make_page(report: Report) -> str:
    """The page's HTML."""
    require_plausible(report)
    if not report.subjects:
        raise UserError("the report has no subject: nothing to make a page of; measure a bundle")
    sections = dict(_sections(report))
    title = f"Profile of {listing([subject.label for subject in report.subjects])}"
    links = [element("a", heading, href=f"#s{place}") for place, heading in enumerate(sections, 1)]
    body = [
        _HATCHING,
        element("h1", title),
        element("p", f"{report.created} · {report.machine.processor}", class_="soft"),
        element("nav", links, aria_label="Sections"),
        draw_warnings(report),
        [
            element("section", element("h2", heading, id=f"s{place}"), content)
            for place, (heading, content) in enumerate(sections.items(), 1)
        ],
    ]
    return _document(title, element("main", body))


def _sections(report: Report) -> Iterator[tuple[str, Content]]:
    subjects = report.subjects
    yield "In short", draw_cards(report)
    if report.comparisons:
        yield "Comparison", draw_comparisons(report.comparisons)
    yield (
        "One utterance",
        [
            _text(
                "The run whose first audio is the median. Rest the pointer on a call for its time."
            ),
            *(draw_waterfall(subject) for subject in subjects),
        ],
    )
    yield "First audio", draw_first_audio(subjects)
    yield "Stages", draw_shares(subjects)
    yield "Calls of one utterance", draw_histograms(subjects)
    yield "Roofline", draw_roofline(report)
    yield "Contexts and rows", draw_lines(subjects)
    yield "Layers", draw_layers(subjects)
    yield "All figures", draw_tables(report)
    yield "Machine", draw_machine(report)


def _text(sentence: str) -> Markup:
    return element("p", sentence)


def _document(title: str, main: Markup) -> str:
    style, script = _read("page.css"), _read("page.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    head = [
        Markup('<meta charset="utf-8">'),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    ]
    body = [main, element("script", Markup(script))]
    page = element("html", element("head", head), element("body", body), lang="en")
    return join([Markup("<!doctype html>\n"), page, "\n"])


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
