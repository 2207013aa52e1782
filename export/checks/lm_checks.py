"""Checks of the language model's graphs that need no reference.

In: saved graphs and the checkpoint they were made from. Out: figures with their limits. The graphs
run in ONNX Runtime; torch is not needed. `export.checks.lm_parity` compares them with PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from export.checks import limits
from export.checks.differences import relative_difference, relative_noise
from export.checks.head_calls import codes_of_step, head_name, sampled_inputs
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
    NEXT_EMBEDDING,
    PAST_LENGTH,
    SPEAKER,
    SPEAKER_PROJECTION,
    SPEAKER_TOKEN,
    STOP,
)

POSITIONS = 33
CHUNKS = (20, 1, 1, 10, 1)  # the same positions in several calls
CAPACITY = POSITIONS + 7  # more room than is used, as in decoding
DRAWS = 8

LAST_PLACE = 2.0**-11  # of float16
RUNS = 3  # each with other random last places; the largest noise counts


def check_language_model(
    checkpoint: Checkpoint, folder: Path, graphs: Mapping[str, GraphSpec]
) -> list[Check]:
    """Run every language-model graph in `graphs`. The caller compares figures with limits."""
    hidden, checks = check_backbone(folder, graphs[BACKBONE], some_embeddings(checkpoint))
    checks += check_head(folder, graphs[head_name(graphs)], hidden, checkpoint.config.streams)
    if SPEAKER_PROJECTION in graphs:
        checks += check_speaker_projection(folder, graphs[SPEAKER_PROJECTION])
    return checks


def check_backbone(folder: Path, spec: GraphSpec, embeddings: Array) -> tuple[Array, list[Check]]:
    """Hidden states of `embeddings` (1, 33, H), and how much they differ in chunks."""
    runner = GraphRunner(folder, spec, CAPACITY)
    whole = read_in(runner, embeddings, [POSITIONS])
    cached = read_in(runner, embeddings, CHUNKS)
    finite = _count_check("backbone: values that are not finite", ~np.isfinite(whole))
    if spec.precision in QUANTIZED:
        return whole, [finite, *_noise_checks(runner, embeddings, whole, cached)]
    difference, limit = relative_difference(cached, whole), limits.CACHED[spec.precision]
    return whole, [finite, Check("backbone: cached against whole", difference, limit)]


def read_in(runner: GraphRunner, embeddings: Array, sizes: Sequence[int]) -> Array:
    """Hidden states of all positions. sizes: positions of each call."""
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
    """For graphs in few bits: chunks against the whole, limited by the noise of last places."""
    moved = moved_by_last_places(runner, embeddings)
    noise = max(relative_noise(hidden, whole) for hidden in moved)
    limit = cached_noise_limit(noise)
    return [
        Check("backbone: noise of last places", noise, limits.LAST_PLACE_NOISE),
        Check("backbone: cached against whole: noise", relative_noise(cached, whole), limit),
    ]


def moved_by_last_places(runner: GraphRunner, embeddings: Array) -> list[Array]:
    """Hidden states (1, 33, H) of inputs that differ by last places of float16, several times."""
    random, found = np.random.default_rng(0), []
    for _ in range(RUNS):
        factors = 1 + LAST_PLACE * random.choice((-1, 1), embeddings.shape)
        moved = embeddings * factors.astype(np.float32)
        found.append(read_in(runner, moved, [POSITIONS]))
    return found


def cached_noise_limit(noise: float) -> float:
    """How much noise positions in several calls may add, if last places add `noise`."""
    return max(limits.LEAST_CACHED_NOISE, limits.CACHED_NOISE_ROOM * noise)


def check_head(folder: Path, spec: GraphSpec, hidden: Array, streams: Streams) -> list[Check]:
    """Greedy draws must not depend on the noise. All draws must be in the vocabulary."""
    size = codes_of_step(spec)
    rng = np.random.default_rng(0)
    runner = GraphRunner(folder, spec, hidden.shape[1])
    greedy: list[Arrays] = []
    sampled: list[Arrays] = []
    for _ in range(DRAWS):
        noise = rng.random((1, size), np.float32)
        for top_k, results in ((1, greedy), (50, sampled)):
            runner.reset()
            results.append(runner.run(sampled_inputs(spec, hidden, noise, top_k)))
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


def some_embeddings(checkpoint: Checkpoint) -> Array:
    """Input embeddings (1, 33, H) of tokens spread over the vocabulary."""
    rows = checkpoint.tensors[EMBEDDINGS].shape[0]
    ids = np.random.default_rng(0).integers(0, rows, POSITIONS)
    return checkpoint.rows("some_embeddings", ids, of=EMBEDDINGS).read()[None]


def _kept_after_stop(results: list[Arrays]) -> Array:
    return np.array([bool(result[STOP][0]) and result[KEPT_CODES][0] != 0 for result in results])


def _not_finite(results: list[Arrays]) -> Array:
    return ~np.isfinite([result[NEXT_EMBEDDING] for result in results])


def _count_check(name: str, offending: Array) -> Check:
    return Check(name, float(np.count_nonzero(offending)), 0.0)
