"""The layout of packed weights: what is packed comes back, and bytes are where kernels look."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.native.layout import FORMATS, PANEL, Format, Layout, fill_up, round_up
from formats.weights import Array

SIZES = st.integers(1, 70)
FORMAT = st.sampled_from(FORMATS)
STORED = {"fp32": "<f4", "bf16": ml_dtypes.bfloat16, "fp16": "<f2", "int8": np.uint8}
BLOCKS = st.sampled_from([32, 64, 128])


def a_layout(form: Format, outputs: int, channels: int, taps: int, block: int) -> Layout:
    """A layout of one tap for int4, and with a scale for each output for int8."""
    if form == "int4":
        return Layout(form, outputs, channels, 1, block, -(-channels // block))
    if form == "int8":
        return Layout(form, outputs, channels, taps, taps * round_up(channels, 16), 1)
    return Layout(form, outputs, channels, taps)


def random_rows(layout: Layout, seed: int = 0) -> Array:
    """Values, or codes of few bits, float32 (outputs, taps, channels)."""
    random, shape = np.random.default_rng(seed), (layout.outputs, layout.taps, layout.channels)
    if layout.format in ("int8", "int4"):
        lowest, highest = (-127, 127) if layout.format == "int8" else (-8, 7)
        return random.integers(lowest, highest, shape, endpoint=True).astype(np.float32)
    values = random.standard_normal(shape).astype(np.float32)
    return values.astype(STORED[layout.format]).astype(np.float32)


@given(FORMAT, SIZES, SIZES, st.integers(1, 7), BLOCKS, st.integers(0, 9))
def test_what_is_packed_comes_back(
    form: Format, outputs: int, channels: int, taps: int, block: int, seed: int
) -> None:
    layout = a_layout(form, outputs, channels, taps, block)
    rows = random_rows(layout, seed)
    packed = layout.pack_codes(rows)
    width = np.dtype(STORED.get(form, np.uint8)).itemsize
    assert packed.nbytes == np.prod(layout.codes_shape) * width
    np.testing.assert_array_equal(layout.unpack_codes(packed), rows)


@given(SIZES, st.integers(1, 9), st.integers(0, 9))
def test_scales_come_back(outputs: int, scale_blocks: int, seed: int) -> None:
    layout = Layout("int4", outputs, 32 * scale_blocks, 1, 32, scale_blocks)
    scales = np.random.default_rng(seed).random((outputs, scale_blocks)).astype(np.float16)
    packed = layout.pack_scales(scales.astype(np.float32))
    assert (packed.dtype, packed.shape) == (np.float16, layout.scales_shape)
    assert packed[0, scale_blocks - 1, 0] == scales[0, -1]
    np.testing.assert_array_equal(layout.unpack_scales(packed), scales)


@given(FORMAT, st.integers(17, 60), SIZES, st.integers(1, 3))
def test_blocks_of_rows_join_to_the_whole(
    form: Format, outputs: int, channels: int, panels: int
) -> None:
    layout = a_layout(form, outputs, channels, 1, 32)
    rows, step = random_rows(layout), panels * PANEL
    parts = [layout.pack_codes(rows[start : start + step]) for start in range(0, outputs, step)]
    np.testing.assert_array_equal(np.concatenate(parts), layout.pack_codes(rows))


def test_where_an_input_of_an_output_lies() -> None:
    """Panel, group, output and place in the group, as the page on the engine has them."""
    output, panel = 16 + 5, 1
    for form in ("fp32", "bf16", "fp16", "int8"):
        layout = a_layout(form, 30, 40, 2, 0)
        rows = random_rows(layout)
        packed = layout.pack_codes(rows).view(STORED[form]).reshape(layout.codes_shape)
        value = rows[output, 1, 7] + (128 if form == "int8" else 0)
        place = 48 + 7  # channels of a tap are filled up to 48
        group = {"bf16": 2, "int8": 4}.get(form, 1)
        found = packed[panel, place // group, 5]
        assert (found if group == 1 else found[place % group]) == value


def test_where_codes_of_four_bits_lie() -> None:
    layout = Layout("int4", 30, 96, 1, 32, 3)
    rows = random_rows(layout)
    packed = layout.pack_codes(rows).view(np.uint8).reshape(layout.codes_shape)
    block, j, i = 2, 3, 1
    byte = packed[1, block, j, 5, i]
    assert byte & 0xF == rows[21, 0, 32 * block + 4 * j + i] + 8
    assert byte >> 4 == rows[21, 0, 32 * block + 16 + 4 * j + i] + 8


@pytest.mark.parametrize("form", FORMATS)
def test_what_fills_up_is_zero(form: Format) -> None:
    layout = a_layout(form, 3, 5, 1, 32)
    packed = layout.pack_codes(np.full((3, 1, 5), 7, np.float32))
    whole = Layout(form, 16, layout.inputs, 1, layout.block, layout.scale_blocks)
    filled = whole.unpack_codes(packed)
    assert filled[:3, :, :5].min() == 7
    assert not filled[3:].any()
    assert not filled[:, :, 5:].any()


def test_bfloat16_is_rounded_to_the_nearest_even() -> None:
    layout = Layout("bf16", 1, 4)
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF], np.uint32)
    packed = layout.pack_codes(bits.view(np.float32).reshape(1, 1, 4))
    stored = packed.view(np.uint16).reshape(layout.codes_shape)[0, :2, 0].reshape(-1)
    assert [*stored] == [0x3F80, 0x3F82, 0x3F81, 0x3F80]


def test_an_axis_is_filled_up_behind() -> None:
    array = np.ones((2, 3))
    assert fill_up(array, 1, 4).tolist() == [[1, 1, 1, 0]] * 2
    assert fill_up(array, 1, 3) is array
