"""Statistics of what flows into layers, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.measurement.statistics import SAMPLE_ROWS, InputStatistics
from calibration.measurement.utterances import step_embeddings
from formats.streams import Streams


def test_statistics_are_those_of_all_rows() -> None:
    inputs = np.random.default_rng(0).standard_normal((900, 6)).astype(np.float32)
    statistics = InputStatistics(6, with_gram=True)
    for part in np.split(inputs, [1, 300, 301]):
        statistics.add(part)
    np.testing.assert_array_equal(statistics.largest, np.abs(inputs).max(axis=0))
    assert statistics.gram is not None
    np.testing.assert_allclose(statistics.gram, inputs.T @ inputs, rtol=1e-4, atol=1e-3)
    assert statistics.sample.shape == (SAMPLE_ROWS, 6)
    rows = {row.tobytes() for row in inputs}
    assert {row.tobytes() for row in statistics.sample} <= rows
    late = {row.tobytes() for row in inputs[600:]}
    share = sum(row.tobytes() in late for row in statistics.sample) / SAMPLE_ROWS
    assert share == pytest.approx(1 / 3, abs=0.1), "rows at the end have the same chance"


def test_few_rows_are_all_kept() -> None:
    statistics = InputStatistics(4, with_gram=False)
    inputs = np.arange(12, dtype=np.float32).reshape(3, 4)
    statistics.add(inputs)
    np.testing.assert_array_equal(statistics.sample, inputs)
    assert statistics.gram is None


def test_steps_are_means_of_their_codes() -> None:
    """Two steps of 6 heads from three frames; the second is filled up."""
    streams = Streams((20, 40, 30))
    table = np.random.default_rng(1).standard_normal((92, 5)).astype(np.float32)
    frames = np.array([[3, 5, 7], [11, 13, 17], [19, 23, 29]])
    first = [3, 5 + 20, 7 + 60, 11, 13 + 20, 17 + 60]
    second = [19, 23 + 20, 29 + 60, 91, 91, 91]
    expected = np.stack([table[first].mean(axis=0), table[second].mean(axis=0)])
    steps = step_embeddings(table, frames, 6, streams)
    np.testing.assert_allclose(steps, expected, rtol=1e-5)
    single = step_embeddings(table, frames[:1], 1, streams)
    np.testing.assert_array_equal(single, table[[3, 5 + 20, 7 + 60]])
