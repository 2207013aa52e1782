"""TensorRT's names for types of values, as manifests write them. It imports no TensorRT."""

from __future__ import annotations

_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


def dtype_name(name: str) -> str:
    """ "float32" for "FLOAT", "float16" for "HALF" …; other names in lower case: "fp8", "int4"."""
    return _NAMES.get(name, name.lower())
