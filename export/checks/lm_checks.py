"""Self-checks of the language model's graphs, without torch: do they agree with themselves?

In: saved graphs and the checkpoint they were made from. Out: figures with their limits. They run
in ONNX Runtime. `export.checks.lm_parity` compares the graphs with PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from export.checks.differences import relative_difference, relative_noise
from export.checks.lm_agreement import codes_of_step
from export.graph.precisions import QUANTIZED
from export.graph.runner import Arrays, GraphRunner
from export.language_model.code_embeddings import PAD
from export.readers.checkpoint import EMBEDDINGS, Checkpoint
from formats.streams import Streams
from formats.weights import Array
from runtime.bundle.manifest import Check, GraphSpec
from runtime.bundle.names import (
    BACKBONE,
    CODES,
    HIDDEN,
    INPUTS_EMBEDS,
    KEPT_CODES,
    MTP_HEAD,
    NEXT_EMBEDDING,
    NOISE,
    NTP_HEAD,
    PAST_LENGTH,
    REPETITION_PENALTY,
    SPEAKER,
    SPEAKER_PROJECTION,
    SPEAKER_TOKEN,
    STOP,
    TEMPERATURE,
    TOP_K,
    TOP_P,
)

POSITIONS = 33
CHUNKS = (20, 1, 1, 10, 1)  # the same positions in several calls
CAPACITY = POSITIONS + 7  # more room than is used, as in decoding
DRAWS = 8

# Of the largest value. Sums in another order differ by some 1e-6 in float32, and where a number
# is rounded after each operator, such a difference now and then becomes one of its last place.
RELATIVE_LIMITS = {"fp32": 1e-4, "fp16": 0.02, "bf16": 0.16}

# In few bits a last place moves values to the next code, and layer by layer more of them. How far
# that leads is a matter of the scales, not of the graph: the same graph tells it by what becomes of
# inputs that differ by a last place of float16. Chunks may be as far from the whole as that.
LAST_PLACE = 2.0**-11
RUNS = 3  # with last places drawn anew; the furthest counts
ROOM = 1.25  # measured on the demo voice with coarse int8 scales: chunks 0.064, last places 0.13
LEAST_NOISE_LIMIT = 0.02
COARSEST = 0.5  # noise of last places; unrelated hidden states: 1.4


def check_language_model(
    checkpoint: Checkpoint, folder: Path, graphs: Mapping[str, GraphSpec]
) -> list[Check]:
    """Run every language-model graph that `graphs` has; the caller judges the figures."""
    head = MTP_HEAD if MTP_HEAD in graphs else NTP_HEAD
    hidden, checks = check_backbone(folder, graphs[BACKBONE], _some_embeddings(checkpoint))
    checks += check_head(folder, graphs[head], hidden, checkpoint.config.streams)
    if SPEAKER_PROJECTION in graphs:
        checks += check_speaker_projection(folder, graphs[SPEAKER_PROJECTION])
    return checks


def check_backbone(folder: Path, spec: GraphSpec, embeddings: Array) -> tuple[Array, list[Check]]:
    """Hidden states of `embeddings` (1, 33, H), and whether decoding in chunks gives the same."""
    runner = GraphRunner(folder, spec, CAPACITY)
    whole = _read_in(runner, embeddings, [POSITIONS])
    cached = _read_in(runner, embeddings, CHUNKS)
    finite = _count_check("backbone: values that are not finite", ~np.isfinite(whole))
    if spec.precision in QUANTIZED:
        return whole, [finite, *_noise_checks(runner, embeddings, whole, cached)]
    difference, limit = relative_difference(cached, whole), RELATIVE_LIMITS[spec.precision]
    return whole, [finite, Check("backbone: cached against whole", difference, limit)]


def _read_in(runner: GraphRunner, embeddings: Array, sizes: Sequence[int]) -> Array:
    """Hidden states of all positions, given in calls of so many."""
    runner.reset()
    parts, past_length = [], 0
    for size in sizes:
        chunk = embeddings[:, past_length : past_length + size]
        inputs = {INPUTS_EMBEDS: chunk, PAST_LENGTH: np.array([past_length])}
        parts.append(runner.run(inputs)[HIDDEN])
        past_length += size
    return np.concatenate(parts, axis=1)


def _noise_checks(
    runner: GraphRunner, embeddings: Array, whole: Array, cached: Array
) -> list[Check]:
    """Of graphs in few bits: see `LAST_PLACE`."""
    random, found = np.random.default_rng(0), []
    for _ in range(RUNS):
        factors = 1 + LAST_PLACE * random.choice((-1, 1), embeddings.shape)
        moved = _read_in(runner, embeddings * factors.astype(np.float32), [POSITIONS])
        found.append(relative_noise(moved, whole))
    noise = float(np.max(found))
    limit = max(LEAST_NOISE_LIMIT, ROOM * noise)
    return [
        Check("backbone: noise of last places", noise, COARSEST),
        Check("backbone: cached against whole: noise", relative_noise(cached, whole), limit),
    ]


def check_head(folder: Path, spec: GraphSpec, hidden: Array, streams: Streams) -> list[Check]:
    """Greedy draws must not depend on the noise; all draws must lie in the vocabulary."""
    size = codes_of_step(spec)
    rng = np.random.default_rng(0)
    runner = GraphRunner(folder, spec, hidden.shape[1])
    greedy: list[Arrays] = []
    sampled: list[Arrays] = []
    for _ in range(DRAWS):
        noise = rng.random((1, size), np.float32)
        for top_k, results in ((1, greedy), (50, sampled)):
            runner.reset()
            results.append(runner.run(_head_inputs(spec, hidden, noise, top_k)))
    codes = np.concatenate([result[CODES] for result in [*greedy, *sampled]])
    last = np.array(streams.sizes)[np.arange(size) % streams.count] + PAD
    return [
        _count_check("head: greedy codes that follow the noise", codes[:DRAWS] != codes[0]),
        _count_check("head: codes outside the vocabulary", (codes < 0) | (codes > last)),
        _count_check("head: steps that stop and yet keep codes", _kept_after_stop(sampled)),
        _count_check("head: embeddings that are not finite", _not_finite([*greedy, *sampled])),
    ]


def check_speaker_projection(folder: Path, spec: GraphSpec) -> list[Check]:
    """The projection of a random speaker is finite."""
    channels = int(spec.inputs[0].shape[1])
    speaker = np.random.default_rng(0).standard_normal((1, channels)).astype(np.float32)
    token = GraphRunner(folder, spec).run({SPEAKER: speaker})[SPEAKER_TOKEN]
    return [_count_check("speaker projection: values that are not finite", ~np.isfinite(token))]


def _some_embeddings(checkpoint: Checkpoint) -> Array:
    """Input embeddings (1, 33, H) of tokens spread over the vocabulary."""
    rows = checkpoint.tensors[EMBEDDINGS].shape[0]
    ids = np.random.default_rng(0).integers(0, rows, POSITIONS)
    return checkpoint.rows("some_embeddings", ids, of=EMBEDDINGS).read()[None]


def _head_inputs(spec: GraphSpec, hidden: Array, noise: Array, top_k: int) -> Arrays:
    inputs: Arrays = {
        HIDDEN: hidden,
        NOISE: noise,
        TOP_K: np.array([top_k]),
        TOP_P: np.array([0.8], np.float32),
        TEMPERATURE: np.ones(1, np.float32),
        REPETITION_PENALTY: np.ones(1, np.float32),
        PAST_LENGTH: np.zeros(1, np.int64),
    }
    wanted = {tensor.name for tensor in spec.inputs}
    return {name: array for name, array in inputs.items() if name in wanted}


def _kept_after_stop(results: list[Arrays]) -> Array:
    return np.array([bool(result[STOP][0]) and result[KEPT_CODES][0] != 0 for result in results])


def _not_finite(results: list[Arrays]) -> Array:
    return ~np.isfinite([result[NEXT_EMBEDDING] for result in results])


def _count_check(name: str, offending: Array) -> Check:
    return Check(name, float(np.count_nonzero(offending)), 0.0)
