"""Which dialects of graphs TensorRT's parsers read, by the library's version.

In: a library and its version. Out: whether it reads a dialect, and the dialect to choose. It needs
no TensorRT.
"""

from __future__ import annotations

from runtime.bundle.names import BASIC, PORTABLE, TENSORRT

# TensorRT's own: 10.15 came with operators for rotary embeddings, RMS norms and caches. Versions
# of TensorRT-RTX read both dialects.
OLDEST = {BASIC: (10, 3), PORTABLE: (10, 15)}


def reads(kind: str, version: str, dialect: str) -> bool:
    """Whether version "10.3.0" of the library reads graphs of a standard dialect."""
    return kind != TENSORRT or _numbers(version) >= OLDEST[dialect]


def usual_dialect(kind: str, version: str) -> str:
    """The dialect with the fewest operators to run, of those that the library reads."""
    return PORTABLE if reads(kind, version, PORTABLE) else BASIC


def oldest_version(dialect: str) -> str:
    """The oldest TensorRT that reads a dialect, "10.15"."""
    return ".".join(map(str, OLDEST[dialect]))


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
