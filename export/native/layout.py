"""How the native engine lays out the weights of a product: panels of 16 outputs.

In: rows of a weight, (outputs, taps, channels), as values or as codes of few bits. Out: the same as
arrays in the order in which kernels read them, and back. docs/native-engine.md describes it. It
knows neither models nor files.

Whatever the format, a panel is made of cells: one of each output, then the next ones. A cell has
four bytes and holds one input in fp32, two in bf16, four in int8; in int4, four cells hold 32
inputs. In fp16 it has two bytes and holds one input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import ml_dtypes
import numpy as np

from formats.weights import Array

Format = Literal["fp32", "bf16", "fp16", "int8", "int4"]
FORMATS: tuple[Format, ...] = get_args(Format)
FEW_BITS: tuple[Format, ...] = ("int8", "int4")

PANEL = 16  # outputs side by side
LANES = 16  # widths are filled up to a multiple of this
INT4_GROUP = 32  # inputs of four cells
CELL, SHORT_CELL = np.dtype("<u4"), np.dtype("<u2")
MIDDLE: Mapping[Format, int] = {"int8": 128, "int4": 8}  # stored for code 0


@dataclass(frozen=True)
class Layout:
    """The sizes of one product's weights, before they are filled up.

    block: inputs that share a scale of the activations, in few bits. scale_blocks: scales of each
    output, in few bits.
    """

    format: Format
    outputs: int
    channels: int
    taps: int = 1
    block: int = 0
    scale_blocks: int = 0

    @property
    def inputs(self) -> int:
        """Inputs of an output, filled up."""
        return round_up(self.taps * round_up(self.channels, LANES), max(self.block, 1))

    @property
    def panels(self) -> int:
        return -(-self.outputs // PANEL)

    @property
    def codes_type(self) -> str:
        """What safetensors calls the type of the codes."""
        types = {"fp32": "F32", "bf16": "BF16", "fp16": "F16", "int8": "U8", "int4": "U8"}
        return types[self.format]

    @property
    def codes_shape(self) -> tuple[int, ...]:
        panels, inputs = self.panels, self.inputs
        shapes: dict[Format, tuple[int, ...]] = {
            "fp32": (panels, inputs, PANEL),
            "bf16": (panels, inputs // 2, PANEL, 2),
            "fp16": (panels, inputs, PANEL),
            "int8": (panels, inputs // 4, PANEL, 4),
            "int4": (panels, inputs // INT4_GROUP, 4, PANEL, 4),
        }
        return shapes[self.format]

    @property
    def scales_shape(self) -> tuple[int, ...]:
        return (self.panels, self.scale_blocks, PANEL)

    def pack_codes(self, rows: Array) -> Array:
        """Rows float32 (n, taps, channels) -> cells (panels of n rows, cells of an output, 16).

        The rows are values, or codes in few bits. Only the last rows of a weight may be fewer than
        whole panels.
        """
        cells = _to_cells(self.format, self._fill(rows))
        panels = cells.reshape(-1, PANEL, cells.shape[1])
        return np.ascontiguousarray(panels.transpose(0, 2, 1))

    def unpack_codes(self, stored: Array) -> Array:
        """The rows (outputs, taps, channels) that `pack_codes` was given, from a whole tensor."""
        cell = SHORT_CELL if self.format == "fp16" else CELL
        cells = np.ascontiguousarray(stored).reshape(-1).view(cell)
        panels = cells.reshape(self.panels, -1, PANEL).transpose(0, 2, 1)
        filled = _from_cells(self.format, np.ascontiguousarray(panels).reshape(-1, panels.shape[2]))
        taps = filled[: self.outputs, : self.taps * round_up(self.channels, LANES)]
        return taps.reshape(self.outputs, self.taps, -1)[..., : self.channels]

    def pack_scales(self, scales: Array) -> Array:
        """Scales (outputs, scale_blocks) -> float16 (panels, scale_blocks, 16)."""
        filled = fill_up(scales, 0, PANEL).astype("<f2")
        panels = filled.reshape(self.panels, PANEL, self.scale_blocks)
        return np.ascontiguousarray(panels.transpose(0, 2, 1))

    def unpack_scales(self, stored: Array) -> Array:
        """The scales (outputs, scale_blocks) that `pack_scales` was given, float32."""
        rows = stored.transpose(0, 2, 1).reshape(-1, self.scale_blocks)
        return rows[: self.outputs].astype(np.float32)

    def _fill(self, rows: Array) -> Array:
        """(n, taps, channels) -> whole panels (m, inputs), filled up with zeros."""
        assert rows.shape[1:] == (self.taps, self.channels), (rows.shape, self)
        filled = fill_up(fill_up(rows, 2, LANES), 0, PANEL)
        flat = filled.reshape(len(filled), -1)
        return np.pad(flat, ((0, 0), (0, self.inputs - flat.shape[1])))


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def fill_up(array: Array, axis: int, multiple: int = LANES) -> Array:
    """The array with zeros behind it, so that the axis is a multiple of `multiple`."""
    missing = -array.shape[axis] % multiple
    if not missing:
        return array
    return np.pad(array, [(0, missing if a == axis else 0) for a in range(array.ndim)])


def _to_cells(form: Format, rows: Array) -> Array:
    """Rows float32 (n, inputs) -> cells (n, cells of an output)."""
    if form == "fp32":
        return np.ascontiguousarray(rows, "<f4").view(CELL)
    if form == "bf16":  # to the nearest, ties to even
        return rows.astype(ml_dtypes.bfloat16).view(CELL)
    if form == "fp16":
        return rows.astype("<f2").view(SHORT_CELL)
    codes = (rows + MIDDLE[form]).astype(np.uint8)
    if form == "int8":
        return codes.view(CELL)
    halves = codes.reshape(len(codes), -1, 2, INT4_GROUP // 2)
    packed = halves[:, :, 0] | (halves[:, :, 1] << 4)
    return packed.reshape(len(codes), -1).view(CELL)


def _from_cells(form: Format, cells: Array) -> Array:
    """Cells (n, cells of an output) -> rows float32 (n, inputs)."""
    if form == "fp32":
        return cells.view("<f4")
    if form == "bf16":
        return cells.view(ml_dtypes.bfloat16).astype(np.float32)
    if form == "fp16":
        return cells.view("<f2").astype(np.float32)
    codes = cells.view(np.uint8)
    if form == "int4":
        packed = codes.reshape(len(codes), -1, 1, INT4_GROUP // 2)
        codes = np.concatenate([packed & 0xF, packed >> 4], axis=2).reshape(len(codes), -1)
    return codes.astype(np.float32) - MIDDLE[form]
