"""HTML and SVG from Python, with everything escaped that is not markup already.

In: names of elements, attributes, content. Out: `Markup`, the only kind of text that is put into a
page as it is. Everything else may come from strangers, such as the name of a bundle or a processor.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from typing import TypeAlias

NO_CONTENT = {"meta", "br", "rect", "line", "circle", "path", "polyline", "polygon"}
# Characters that HTML forbids, and those that turn the direction of the text after them.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[Content] | None"
Attribute: TypeAlias = "str | float | None"


def escape(text: str) -> Markup:
    """Text as HTML, also within quotes."""
    return Markup(html.escape(_UNWANTED.sub("\N{REPLACEMENT CHARACTER}", text)))


def join(content: Content) -> Markup:
    """Markup as it is, texts escaped, None left out, all without a space between them."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return escape(content)
    return Markup("".join(map(join, content)))


def element(name: str, /, *content: Content, **attributes: Attribute) -> Markup:
    """One element. `class_` is class, `stroke_width` stroke-width; None leaves an attribute out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in NO_CONTENT and not content:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return escape(value)
    return number(value)


def number(value: float) -> str:
    """A coordinate, short. Pictures of values that are not finite would be silently wrong."""
    assert math.isfinite(value), value
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
