"""The native engine's language model against ONNX Runtime's.

In: a native bundle, and graphs of the same checkpoint and numbers. Out: `Check`s: hidden states,
codes and tokens drawn after them, the projected speaker, and in float32, the cache too, whole
frames. In fewer bits a last place can move a value to the next code, so frames part soon; there the
codes of single steps are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.checks import limits
from export.checks.differences import relative_difference, relative_noise
from export.checks.head_calls import TRUNCATED, codes_of_step, head_name, sampled_inputs
from export.checks.lm_checks import (
    CAPACITY,
    CHUNKS,
    POSITIONS,
    cached_noise_limit,
    moved_by_last_places,
    read_in,
    some_embeddings,
)
from export.checks.lm_parity import (
    PENALTIES,
    STEPS,
    GreedyDecoder,
    differing_codes,
    some_prompt,
    whole_frames,
)
from export.checks.native_engine import Drawn, NativeEngine
from export.graph.precisions import QUANTIZED
from export.graph.runner import Arrays, GraphRunner
from export.readers.checkpoint import Checkpoint
from formats.precisions import CacheFormat, Precision
from formats.weights import Array
from runtime.bundle.manifest import Check, GraphSpec, SamplingDefaults
from runtime.bundle.names import (
    BACKBONE,
    CODES,
    KEPT_CODES,
    SPEAKER,
    SPEAKER_PROJECTION,
    SPEAKER_TOKEN,
    STOP,
    TEXT_HEAD,
    TOKEN,
)

PREFIXES = (1, 2, 7, 16, 17, 32, 33)  # of the positions: codes are drawn after each
TOP_K = 50


@dataclass(frozen=True)
class Reference:
    """The graphs, and the checkpoint they were made from."""

    checkpoint: Checkpoint
    folder: Path
    graphs: Mapping[str, GraphSpec]


@dataclass(frozen=True)
class Positions:
    """Inputs (1, 33, H) and the hidden states that the graph has for them.

    moved: hidden states of inputs that differ by last places, for graphs in few bits.
    """

    embeddings: Array
    hidden: Array
    moved: list[Array]


def compare_language_model(engine: NativeEngine, reference: Reference) -> list[Check]:
    """All comparisons. The caller compares figures with limits."""
    precision = engine.manifest.graphs[BACKBONE].precision
    positions = _read_positions(reference)
    checks = _compare_hidden_states(engine, positions, precision)
    checks.append(_compare_codes(engine, reference, positions, precision))
    if TEXT_HEAD in reference.graphs:
        checks.append(_compare_tokens(engine, reference, positions, precision))
    if SPEAKER_PROJECTION in reference.graphs:
        checks.append(_compare_speaker(engine, reference))
    if precision == "fp32" and engine.cache == "fp32":
        checks += _compare_frames(engine, reference)
    return checks


def _read_positions(reference: Reference) -> Positions:
    """The backbone is released afterwards: a large one might not fit into memory beside a head."""
    embeddings = some_embeddings(reference.checkpoint)
    backbone = GraphRunner(reference.folder, reference.graphs[BACKBONE], CAPACITY)
    hidden = read_in(backbone, embeddings, [POSITIONS])
    has_few_bits = backbone.spec.precision in QUANTIZED
    moved = moved_by_last_places(backbone, embeddings) if has_few_bits else []
    return Positions(embeddings, hidden, moved)


def _compare_hidden_states(
    engine: NativeEngine, positions: Positions, precision: Precision
) -> list[Check]:
    found = engine.hidden_states(positions.embeddings, CHUNKS)
    [whole] = engine.hidden_states(positions.embeddings, [POSITIONS])
    apart = Check("backbone: chunks unlike the whole", float(np.sum(found[-1] != whole)), 0.0)
    expected = positions.hidden[0, np.cumsum(CHUNKS) - 1]
    if precision in QUANTIZED:
        noise = max(relative_noise(moved, positions.hidden) for moved in positions.moved)
        noise = float(np.hypot(noise, limits.CACHE_NOISE[engine.cache]))
        measured, limit = relative_noise(found, expected), cached_noise_limit(noise)
        return [apart, Check("backbone = ONNX Runtime: noise", measured, limit)]
    limit = max(limits.NATIVE_HIDDEN[precision], limits.CACHE_HIDDEN[engine.cache])
    return [apart, Check("backbone = ONNX Runtime", relative_difference(found, expected), limit)]


def _compare_codes(
    engine: NativeEngine, reference: Reference, positions: Positions, precision: Precision
) -> Check:
    """Codes drawn after several prefixes of the positions, the best ones and others."""
    spec = reference.graphs[head_name(reference.graphs)]
    head, size = GraphRunner(reference.folder, spec, CAPACITY), codes_of_step(spec)
    noise = np.random.default_rng(0).random((len(PREFIXES), 1, size), np.float32)
    calls = [(*call, k) for call in zip(PREFIXES, noise, strict=True) for k in (1, TOP_K)]

    def draw(hidden: Array) -> list[Drawn]:
        drawn = []
        for prefix, values, top_k in calls:
            head.reset()
            outputs = head.run(sampled_inputs(spec, hidden[:, :prefix], values, top_k))
            drawn.append(_drawn(outputs))
        return drawn

    found = [
        engine.draw(
            positions.embeddings[:, :prefix],
            values,
            SamplingDefaults(top_k=top_k, top_p=TRUNCATED),
        )[0]
        for prefix, values, top_k in calls
    ]
    wanted = draw(positions.hidden)
    moved = [_share_apart(draw(h), wanted) for h in positions.moved]
    limit = _share_limit(moved, precision, engine.cache)
    return Check("share of codes unlike ONNX Runtime's", _share_apart(found, wanted), limit)


def _drawn(outputs: Arrays) -> Drawn:
    kept = int(outputs[KEPT_CODES][0])
    return Drawn(tuple(outputs[CODES][0, :kept].tolist()), bool(outputs[STOP][0]))


def _share_apart(found: Sequence[Drawn], wanted: Sequence[Drawn]) -> float:
    """Of the codes of steps; all codes of a step where one of both stops or keeps fewer."""
    shares = [
        float(np.mean(np.not_equal(one.codes, other.codes)) if other.codes else 0.0)
        if one.stop == other.stop and len(one.codes) == len(other.codes)
        else 1.0
        for one, other in zip(found, wanted, strict=True)
    ]
    return float(np.mean(shares))


def _share_limit(moved: Sequence[float], precision: Precision, cache: CacheFormat) -> float:
    """moved: shares of a graph in few bits that last places of its inputs change."""
    if precision in QUANTIZED:
        limit = limits.MOVED_CODES_ROOM * max(moved) + limits.LEAST_MOVED_CODES
    else:
        limit = limits.NATIVE_CODES[precision]
    return max(limit, limits.CACHE_CODES[cache])


def _compare_tokens(
    engine: NativeEngine, reference: Reference, positions: Positions, precision: Precision
) -> Check:
    """The likeliest tokens of text after several prefixes of the positions."""
    spec = reference.graphs[TEXT_HEAD]
    head, noise = GraphRunner(reference.folder, spec), np.zeros((1, 1), np.float32)

    def write(hidden: Array) -> list[int]:
        return [
            int(head.run(sampled_inputs(spec, hidden[:, :prefix], noise, 1))[TOKEN][0])
            for prefix in PREFIXES
        ]

    wanted = write(positions.hidden)
    found = [engine.write(positions.embeddings[:, :prefix]) for prefix in PREFIXES]
    moved = [float(np.mean(np.not_equal(write(h), wanted))) for h in positions.moved]
    share = float(np.mean(np.not_equal(found, wanted)))
    limit = _share_limit(moved, precision, engine.cache)
    return Check("share of tokens unlike ONNX Runtime's", share, limit)


def _compare_speaker(engine: NativeEngine, reference: Reference) -> Check:
    channels = engine.manifest.codec.speaker_channels
    speaker = np.random.default_rng(0).standard_normal((1, channels)).astype(np.float32)
    projection = GraphRunner(reference.folder, reference.graphs[SPEAKER_PROJECTION])
    expected = projection.run({SPEAKER: speaker})[SPEAKER_TOKEN]
    difference = relative_difference(engine.project_speaker(speaker), expected)
    return Check("speaker projection = ONNX Runtime", difference, limits.SPEAKER_TOKEN)


def _compare_frames(engine: NativeEngine, reference: Reference) -> Iterator[Check]:
    """Codes of a whole greedy run, with and without repetition penalty."""
    checkpoint, prompt = reference.checkpoint, some_prompt(reference.checkpoint)
    streams = checkpoint.config.streams.count
    decoder = GreedyDecoder(checkpoint, reference.folder, reference.graphs, len(prompt) + STEPS)
    channels = engine.manifest.codec.speaker_channels
    speaker = np.random.default_rng(1).standard_normal(channels).astype(np.float32)
    embeddings = decoder.embed_prompt(prompt, speaker)
    noise = np.zeros((STEPS, engine.manifest.language_model.heads), np.float32)
    for penalty in PENALTIES:
        expected = decoder.decode(prompt, speaker, penalty, STEPS)
        sampling = SamplingDefaults(top_k=1, top_p=1.0, repetition_penalty=penalty)
        drawn = engine.draw(embeddings, noise, sampling, STEPS)
        found = whole_frames([code for step in drawn for code in step.codes], streams)
        apart = differing_codes(found, expected.frames) + abs(len(drawn) - expected.steps)
        name = f"codes unlike ONNX Runtime's, penalty {penalty}"
        yield Check(name, float(apart), 0.0)
