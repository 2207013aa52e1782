"""The colour of each stage, the same in all pictures. Names and forms stand beside it everywhere.

In: names of stages and parts. Out: names of CSS classes, which page.css gives a colour for light
and for dark pages.
"""

from __future__ import annotations

from runtime.profiling.page.markup import Markup, element

_KNOWN = {
    "text": "c0",
    "prefill": "c1",
    "device_prefill": "c1",
    "step": "c2",
    "whole_step": "c2",
    "device_step": "c2",
    "head": "c3",
    "steps": "c2",
    "codec": "c4",
    "codec_chunk": "c4",
    "speaker_projection": "c6",
    "between calls": "c7",
    "playback": "c5",
}
_OTHERS = ("c6", "c7", "c8")


def colour_of(name: str) -> str:
    """The class of a stage. Names that are not known share three colours."""
    return _KNOWN.get(name) or _OTHERS[sum(name.encode("utf-8", "replace")) % len(_OTHERS)]


def swatch(name: str) -> Markup:
    """A little square of the colour, to stand before the name."""
    return element("span", class_=f"swatch {colour_of(name)}", aria_hidden="true")
