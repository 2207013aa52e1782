"""The number formats of a language model's products.

In: the precision of an export, and the weights that a calibration has scales for. Out: for each
product the `QuantizedWeight` of its rows, or the format of its floats. It does not know which
layers there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from export.graph.precisions import QUANTIZED
from export.native.layout import Format
from export.native.matrix import Matrix, float_matrix, part, quantized_matrix
from export.quantization.products import part_name, require_fit
from export.readers.checkpoint import Checkpoint
from formats.calibration.quantized_weight import QuantizedWeight
from formats.precisions import Precision
from formats.weights import Weight

SHORT_FORMATS: Mapping[np.dtype[Any], Format] = {  # of checkpoints
    np.dtype(ml_dtypes.bfloat16): "bf16",
    np.dtype(np.float16): "fp16",
}
ALL_ROWS = slice(None)


@dataclass(frozen=True)
class Products:
    """Formats of floats, and the calibration's weights.

    usual: of layers. exact: of heads, whose rounding could change which code wins. folded: of
    layers whose weights are products of two. names: shapes of all products that were asked for, by
    the names that calibrations have for them.
    """

    usual: Format
    exact: Format
    folded: Format
    weights: Mapping[str, QuantizedWeight]
    names: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, precision: Precision, weights: Mapping[str, QuantizedWeight]
    ) -> Products:
        """Those of a checkpoint. If it is in bfloat16 or float16, weights that are to be exact stay
        so: that loses nothing, and half as many bytes are read."""
        floats = {t.dtype for t in checkpoint.tensors.values() if t.dtype.kind not in "iu"}
        exact = SHORT_FORMATS.get(floats.pop(), "fp32") if len(floats) == 1 else "fp32"
        if precision == "bf16":
            return cls("bf16", exact, "bf16", weights)
        # Layers beside those in few bits are scaled by powers of two, which float16 may not hold.
        is_scaled = precision in QUANTIZED and exact == "fp16"
        return cls("fp32" if is_scaled else exact, exact, "fp32", weights)

    def find(self, whole: Weight, rows: slice = ALL_ROWS) -> QuantizedWeight | None:
        """What the calibration has for some rows of a weight."""
        self.names[whole.name] = whole.shape
        return self._rows_of(whole.name, whole, rows)

    def find_in_batch(
        self, name: str, heads: int, index: int, weight: Weight, rows: slice = ALL_ROWS
    ) -> QuantizedWeight | None:
        """The same for a weight that is one of a batch called `name`."""
        self.names[name] = (heads, *weight.shape)
        return self._rows_of(part_name(name, index), weight, rows)

    def _rows_of(self, name: str, weight: Weight, rows: slice) -> QuantizedWeight | None:
        quantized = self.weights.get(name)
        if quantized is None:
            return None
        require_fit(quantized, weight)
        return part(quantized, rows)


def make_matrix(
    name: str,
    weight: Weight,
    form: Format,
    quantized: QuantizedWeight | None,
    bias: Weight | None = None,
) -> Matrix:
    """The matrix in the calibration's codes, or in floats of `form` if there are none."""
    if quantized is None:
        return float_matrix(name, form, weight, bias)
    return quantized_matrix(name, quantized, weight, bias)
