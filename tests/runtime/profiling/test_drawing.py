"""What pictures and tables are made of: figures as text, scales and their ticks, escaping."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.profiling.page.markup import Markup, element, join
from runtime.profiling.page.plots import Plot, Scale
from runtime.profiling.page.quantities import (
    amount,
    count,
    duration,
    listing,
    round_number,
    share,
    significant,
    tick_duration,
)

POSITIVE = st.floats(min_value=1e-12, max_value=1e12)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234.5, "1,234"),
        (0.012345, "0.0123"),
        (99.96, "100"),
        (9.996, "10.0"),
        (-2.0, "-2.00"),
    ],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert significant(value) == text


@given(POSITIVE)
def test_a_figure_is_written_to_half_a_percent(value: float) -> None:
    assert float(significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0 ms"),
        (12e-6, "12.0 µs"),
        (0.00099999, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.99999, "1.00 s"),
        (75.0, "75.0 s"),
    ],
)
def test_durations_have_the_unit_that_suits(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_units_and_shares() -> None:
    assert amount(11.1e6, "B") == "11.1 MB"
    assert amount(999.9e6, "B") == "1.00 GB"
    assert amount(12.0, "B") == "12.0 B"
    assert amount(None, "B") == "–"
    assert share(0.1234) == "12.3 %"
    assert share(1.66) == "166 %"
    assert share(None) == "–"
    assert (round_number(2.0), round_number(0.5), round_number(1500.0)) == ("2", "0.5", "1,500")
    assert (count(1, "chunk"), count(2000, "chunk")) == ("1 chunk", "2,000 chunks")
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert tick_duration(0.5, 2.0) == "0.5 s"
    assert tick_duration(0.0, 2.0) == "0"


@given(st.floats(-1e6, 1e6), POSITIVE, st.integers(2, 10))
def test_linear_ticks_are_evenly_spaced_within_the_scale(
    least: float, length: float, about: int
) -> None:
    scale = Scale(least, least + length)
    ticks = scale.ticks(about)
    assert len(ticks) <= about + 2
    if length > 1e-6 * abs(least):  # otherwise floats do not tell ticks from each other
        steps = [later - tick for tick, later in pairwise(ticks)]
        assert all(step == pytest.approx(steps[0], rel=1e-3) for step in steps)
        assert all(-1e-6 <= scale.place(tick) <= 1 + 1e-6 for tick in ticks)


@given(POSITIVE, st.floats(1.01, 1e9), st.integers(2, 8))
def test_logarithmic_ticks_rise_within_the_scale(least: float, times: float, about: int) -> None:
    scale = Scale(least, least * times, logarithmic=True)
    ticks = scale.ticks(about)
    assert ticks == sorted(set(ticks))
    assert all(-0.2 <= scale.place(tick) <= 1.2 for tick in ticks)
    assert len(ticks) <= 3 * about


@given(POSITIVE, st.floats(1.01, 1e9))
def test_a_logarithmic_scale_makes_ratios_lengths(least: float, times: float) -> None:
    scale = Scale(least, least * times, logarithmic=True)
    assert scale.place(least) == pytest.approx(0, abs=1e-6)
    assert scale.place(least * math.sqrt(times)) == pytest.approx(0.5, abs=1e-3)


def test_a_scale_of_one_value_has_a_length() -> None:
    assert Scale(2.0, 2.0).place(2.0) == 0
    assert Scale(0.0, 0.0).ticks()


def test_shapes_outside_the_picture_are_left_out() -> None:
    plot = Plot(10, "title", "description")
    plot.rect(-1, 0.5, 0, 10, tip="cut")
    plot.rect(1.5, 2, 0, 10, tip="right of it")
    plot.line((1.2, 0), (1.2, 5))
    drawn = plot.render()
    assert "right of it" not in drawn
    assert "<line" not in drawn
    assert 'x="0%" y="0" width="50%"' in drawn


@given(st.text())
def test_text_cannot_become_markup(text: str) -> None:
    written = element("p", text, title=text)
    assert written.count("<") == 2
    assert written.count('"') == 2
    assert join([Markup("<b>"), None, text]).count("<") == 1
