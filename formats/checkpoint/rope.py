"""The base of rotary positions (RoPE) in a `config.json`.

In: the keys that transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) write.
Out: one number for all layers. Scaled positions, layers that differ, and keys that contradict each
other are refused.
"""

from __future__ import annotations

from formats.files.json_reader import JsonReader

FULL_ATTENTION = "full_attention"  # the kind of all layers
DEFAULT_THETA = 10_000.0  # Qwen2's, if the file has none
_SECTIONS = ("rope_scaling", "rope_parameters")
_KNOWN = ("rope_type", "type", "rope_theta", "partial_rotary_factor")


def read_rope_theta(reader: JsonReader) -> float:
    """The base, on which all keys of the file must agree. Raises `UserError` naming the key."""
    found = {}
    if reader.has("rope_theta"):
        found["rope_theta"] = reader.positive("rope_theta")
    _refuse_partial(reader)
    for key in _SECTIONS:
        section = _of_all_layers(reader, key)
        _refuse_scaling(reader, key, section)
        if section.has("rope_theta"):
            found[key] = section.positive("rope_theta")
    if len(set(found.values())) > 1:
        told = ", ".join(f"{value:g} in {key!r}" for key, value in found.items())
        raise reader.fail("rope_theta", f"has two values, {told}; keep the one it was trained with")
    return next(iter(found.values()), DEFAULT_THETA)


def _of_all_layers(reader: JsonReader, key: str) -> JsonReader:
    """The section, or its part for layers of full attention if it has a part for each kind."""
    section = reader.section(key)
    if not any(isinstance(section.get(name, None), dict) for name in section.names()):
        return section
    if not section.has(FULL_ATTENTION):
        kinds = ", ".join(section.names())
        raise reader.fail(key, f"is for layers of {kinds}; only {FULL_ATTENTION!r} can be")
    for name in section.names():
        section.section(name)
    return section.section(FULL_ATTENTION)


def _refuse_scaling(reader: JsonReader, key: str, section: JsonReader) -> None:
    kind = section.text("rope_type", section.text("type", "default"))
    if kind != "default":
        raise reader.fail(key, f"asks for {kind!r} RoPE scaling, which is not supported")
    unknown = [name for name in section.names() if name not in _KNOWN]
    if unknown:
        raise reader.fail(
            key, f"has {unknown[0]!r}, but no 'rope_type' that uses it; say which, or remove it"
        )
    _refuse_partial(section)


def _refuse_partial(section: JsonReader) -> None:
    if section.positive("partial_rotary_factor", 1.0) != 1:
        raise section.fail("partial_rotary_factor", "must be 1: all channels are rotated")
