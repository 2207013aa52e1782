"""Drawing inside the graph: which codes can come out, and how often.

The expected distribution is a transcription of the published decoder (arXiv 2506.12537,
`get_nucleus_one_token`): temperature, top-k, softmax, top-p with the first entry over the
threshold kept. An even grid of noise turns frequencies into exact probabilities.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graph.dialects import new_graph
from export.graph.precisions import GraphNumbers
from export.graph.runner import GraphRunner
from export.language_model.sampling import declare_sampling, draw, penalize
from runtime.bundle.names import NOISE, REPETITION_PENALTY, ROWS, TEMPERATURE, TOP_K, TOP_P
from tests.export.lm_exports import DIALECTS

ENTRIES = 13
GRID = 4000  # noise values
EVEN_NOISE = ((np.arange(GRID, dtype=np.float32)[None] + 0.5) / GRID).astype(np.float32)


def reference_distribution(
    scores: np.ndarray, temperature: float, top_k: int, top_p: float
) -> np.ndarray:
    """Probabilities (entries) of the published decoder, in float64."""
    scaled = (scores / np.float32(temperature)).astype(np.float64)
    order = np.argsort(-scaled, kind="stable")
    scaled[order[top_k:]] = -np.inf
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    if top_p < 1.0:
        cumulative = np.cumsum(probabilities[order])
        removed = np.concatenate([[False], cumulative[:-1] > top_p])
        probabilities[order[removed]] = 0.0
    return probabilities / probabilities.sum()


@pytest.fixture(scope="module", params=DIALECTS)
def drawing(request: pytest.FixtureRequest) -> GraphRunner:
    """A graph that only draws: the scores of a row, one draw for each noise value."""
    graph = new_graph("drawing", GraphNumbers(request.param))
    scores = graph.input("scores", "float32", (ROWS, ENTRIES))
    repeated = graph.op.Expand(graph.op.Unsqueeze(scores, [1]), [1, GRID, 1])
    codes = draw(graph, repeated, ENTRIES, declare_sampling(graph, GRID))
    graph.output("codes", codes, "int64", (ROWS, GRID))
    with tempfile.TemporaryDirectory() as folder:
        return GraphRunner(Path(folder), graph.save(Path(folder)))


def drawn_frequencies(
    drawing: GraphRunner, scores: np.ndarray, temperature: float, top_k: int, top_p: float
) -> np.ndarray:
    inputs = {
        "scores": scores[None],
        TEMPERATURE: np.array([temperature], np.float32),
        TOP_K: np.array([top_k]),
        TOP_P: np.array([top_p], np.float32),
        NOISE: EVEN_NOISE,
    }
    return np.bincount(drawing.run(inputs)["codes"][0], minlength=ENTRIES) / GRID


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("top_k", [1, 2, 7, ENTRIES, 50])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
def test_draws_follow_the_published_distribution(
    drawing: GraphRunner, temperature: float, top_k: int, top_p: float
) -> None:
    scores = np.random.default_rng(5).normal(0, 2, ENTRIES).astype(np.float32)
    expected = reference_distribution(scores, temperature, top_k, top_p)
    frequencies = drawn_frequencies(drawing, scores, temperature, top_k, top_p)
    reachable = expected > 1 / GRID  # rarer entries fall between two noise values
    np.testing.assert_array_equal(frequencies[reachable] > 0, True)
    np.testing.assert_array_equal(frequencies[expected == 0], 0)
    np.testing.assert_allclose(frequencies, expected, atol=1.01 / GRID)


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.floats(-40, 40, width=32), min_size=ENTRIES, max_size=ENTRIES, unique=True),
    temperature=st.floats(0.125, 5, width=32),
    top_k=st.integers(1, 60),
    top_p=st.floats(0.015625, 1, width=32),
)
def test_any_noise_draws_an_allowed_entry(
    drawing: GraphRunner, scores: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    array = np.array(scores, np.float32)
    allowed = reference_distribution(array, temperature, top_k, min(1.0, top_p + 1e-5)) > 0
    frequencies = drawn_frequencies(drawing, array, temperature, top_k, top_p)
    assert frequencies[~allowed].sum() == 0


@pytest.mark.parametrize("noise", [0.0, 0.5, np.nextafter(np.float32(1), np.float32(0))])
def test_entries_that_cannot_be_drawn_never_are(drawing: GraphRunner, noise: float) -> None:
    """Heads of the first frame have no <|speech_pad|>: its score is minus infinity."""
    scores = np.full(ENTRIES, -np.inf, np.float32)
    scores[[2, 5]] = 1.0
    inputs = {
        "scores": scores[None],
        TEMPERATURE: np.ones(1, np.float32),
        TOP_K: np.array([50]),
        TOP_P: np.ones(1, np.float32),
        NOISE: np.full((1, GRID), noise, np.float32),
    }
    codes = set(drawing.run(inputs)["codes"][0].tolist())
    assert codes == {2 if noise < 0.5 else 5}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_penalty_moves_seen_scores_away_from_plus_infinity(dialect: str, tmp_path: Path) -> None:
    graph = new_graph("penalizing", GraphNumbers(dialect))
    scores = graph.input("scores", "float32", (ROWS, 2, 3))
    seen = graph.input("seen", "bool", (ROWS, 2, 3))
    penalty = graph.input(REPETITION_PENALTY, "float32", (ROWS,))
    graph.output("lowered", penalize(graph, scores, seen, penalty), "float32", (ROWS, 2, 3))
    one = [[2.0, -2.0, 0.0], [3.0, -3.0, 5.0]]
    inputs = {
        "scores": np.array([one, one], np.float32),
        "seen": np.array([[[True, True, True], [False, False, True]]] * 2),
        REPETITION_PENALTY: np.array([1.25, 2.0], np.float32),
    }
    lowered = GraphRunner(tmp_path, graph.save(tmp_path)).run(inputs)["lowered"]
    expected = [[[1.6, -2.5, 0.0], [3.0, -3.0, 4.0]], [[1.0, -4.0, 0.0], [3.0, -3.0, 2.5]]]
    np.testing.assert_array_equal(lowered, np.array(expected, np.float32))


def test_each_row_draws_by_its_own_settings(drawing: GraphRunner) -> None:
    """Rows of other temperatures, top_k, top_p and noise draw what they draw alone."""
    random = np.random.default_rng(7)
    count = 5
    inputs = {
        "scores": random.normal(0, 2, (count, ENTRIES)).astype(np.float32),
        TEMPERATURE: random.uniform(0.3, 2, count).astype(np.float32),
        TOP_K: np.array([1, 3, ENTRIES, 7, 50]),
        TOP_P: np.array([1.0, 0.9, 0.5, 1.0, 0.8], np.float32),
        NOISE: random.random((count, GRID), np.float32),
    }
    together = drawing.run(inputs)["codes"]
    for row in range(count):
        alone = drawing.run({name: array[row : row + 1] for name, array in inputs.items()})["codes"]
        np.testing.assert_array_equal(together[row], alone[0])
    assert len(np.unique(together[0])) == 1
    assert len(np.unique(together[2])) > 1
