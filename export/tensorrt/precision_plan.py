"""Where the exporter means a graph to compute in fp32, and where not.

In: a graph's name and precision. Out: a `PrecisionPlan` that `export.tensorrt.inspection` holds
TensorRT's network against. Written by hand, and on purpose not taken from the graph: it says what
was meant, the graph what was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from runtime.bundle import GraphSpec

COMPUTE = {"fp32": "float32", "bf16": "bfloat16"}  # all others: float16
QUANTIZED = {"int8": "int8", "fp8": "fp8", "int4": "int4", "fp4": "fp4"}


@dataclass(frozen=True)
class PrecisionPlan:
    """compute: type of products and attention. fp32: (operator, pattern of node names) of the
    nodes that may compute in fp32. quantized: what products are stored in, if not `compute`."""

    compute: str
    fp32: tuple[tuple[str, str], ...] = ()
    quantized: str | None = None

    def allows_fp32(self, node: str, operator: str) -> bool:
        return any(
            fnmatchcase(operator, allowed) and fnmatchcase(node, pattern)
            for allowed, pattern in self.fp32
        )
