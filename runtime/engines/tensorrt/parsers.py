"""Which dialects of graphs TensorRT's parsers read, by the library's version.

In: a library and its version, and that of ONNX Runtime, which checks graphs. Out: whether it reads
a dialect, and the dialect to choose. It needs neither of them.
"""

from __future__ import annotations

from runtime.bundle.names import BASIC, PORTABLE, TENSORRT

# TensorRT's own: 10.15 came with operators for rotary embeddings, RMS norms and caches. Versions
# of TensorRT-RTX read both dialects.
OLDEST = {BASIC: (10, 3), PORTABLE: (10, 15)}
CHECKED_BY = (1, 25)  # the oldest ONNX Runtime with all operators of portable graphs: TensorScatter


def reads(kind: str, version: str, dialect: str) -> bool:
    """Whether version "10.3.0" of the library reads graphs of a standard dialect."""
    return kind != TENSORRT or _numbers(version) >= OLDEST[dialect]


def usual_dialect(kind: str, version: str) -> str:
    """The dialect with the fewest operators to run, of those that the library reads."""
    return PORTABLE if reads(kind, version, PORTABLE) else BASIC


def is_checked_by(onnxruntime_version: str) -> bool:
    """Whether this version of ONNX Runtime runs portable graphs."""
    return _numbers(onnxruntime_version) >= CHECKED_BY


def dialect_here(kind: str, version: str, onnxruntime_version: str) -> str:
    """The usual dialect, unless an export could not check it with this ONNX Runtime."""
    return usual_dialect(kind, version) if is_checked_by(onnxruntime_version) else BASIC


def oldest_version(dialect: str) -> str:
    """The oldest TensorRT that reads a dialect, "10.15"."""
    return ".".join(map(str, OLDEST[dialect]))


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
