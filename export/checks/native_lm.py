"""The native engine's language model against ONNX Runtime's.

In: a native bundle, and graphs of the same checkpoint and numbers. Out: `Check`s: hidden states,
codes and tokens drawn after them, the projected speaker, and in float32 whole frames. In fewer bits
a last place can move a value to the next code, so frames part soon; there the codes of single steps
are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    last_place_noise,
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


def compare_language_model(engine: NativeEngine, reference: Reference) -> list[Check]:
    """All comparisons. The caller compares figures with limits."""
    embeddings = some_embeddings(reference.checkpoint)
    backbone = GraphRunner(reference.folder, reference.graphs[BACKBONE], CAPACITY)
    hidden = read_in(backbone, embeddings, [POSITIONS])
    checks = _compare_hidden_states(engine, backbone, embeddings, hidden)
    del backbone  # a large one might not fit into memory beside the head
    checks.append(_compare_codes(engine, reference, embeddings, hidden))
    if TEXT_HEAD in reference.graphs:
        checks.append(_compare_tokens(engine, reference, embeddings, hidden))
    if SPEAKER_PROJECTION in reference.graphs:
        checks.append(_compare_speaker(engine, reference))
    if engine.manifest.graphs[BACKBONE].precision == "fp32":
        checks += _compare_frames(engine, reference)
    return checks


def _compare_hidden_states(
    engine: NativeEngine, backbone: GraphRunner, embeddings: Array, hidden: Array
) -> list[Check]:
    precision = engine.manifest.graphs[BACKBONE].precision
    ends = np.cumsum(CHUNKS) - 1
    found = engine.hidden_states(embeddings, CHUNKS)
    [whole] = engine.hidden_states(embeddings, [POSITIONS])
    apart = Check("backbone: chunks unlike the whole", float(np.sum(found[-1] != whole)), 0.0)
    if precision in QUANTIZED:
        noise = last_place_noise(backbone, embeddings, hidden)
        limit = max(limits.LEAST_CACHED_NOISE, limits.CACHED_NOISE_ROOM * noise)
        measured = relative_noise(found, hidden[0, ends])
        return [apart, Check("backbone = ONNX Runtime: noise", measured, limit)]
    difference = relative_difference(found, hidden[0, ends])
    return [apart, Check("backbone = ONNX Runtime", difference, limits.NATIVE_HIDDEN[precision])]


def _compare_codes(
    engine: NativeEngine, reference: Reference, embeddings: Array, hidden: Array
) -> Check:
    """Codes drawn after several prefixes of the positions, the best ones and others."""
    spec = reference.graphs[head_name(reference.graphs)]
    head = GraphRunner(reference.folder, spec, CAPACITY)
    random, apart = np.random.default_rng(0), []
    for positions in PREFIXES:
        noise = random.random((1, codes_of_step(spec)), np.float32)
        for top_k in (1, TOP_K):
            head.reset()
            wanted = head.run(sampled_inputs(spec, hidden[:, :positions], noise, top_k))
            sampling = SamplingDefaults(top_k=top_k, top_p=TRUNCATED)
            [found] = engine.draw(embeddings[:, :positions], noise, sampling)
            apart.append(_share_apart(found, wanted))
    precision = engine.manifest.graphs[BACKBONE].precision
    limit = limits.NATIVE_CODES[precision]
    return Check("share of codes unlike ONNX Runtime's", float(np.mean(apart)), limit)


def _share_apart(found: Drawn, wanted: Arrays) -> float:
    """Of the codes of a step; all of them if one of both stops or keeps fewer."""
    codes = wanted[CODES][0, : wanted[KEPT_CODES][0]]
    if found.stop != bool(wanted[STOP][0]) or len(found.codes) != len(codes):
        return 1.0
    return float(np.mean(codes != found.codes)) if len(codes) else 0.0


def _compare_tokens(
    engine: NativeEngine, reference: Reference, embeddings: Array, hidden: Array
) -> Check:
    spec = reference.graphs[TEXT_HEAD]
    head, noise = GraphRunner(reference.folder, spec), np.zeros((1, 1), np.float32)
    apart = [
        head.run(sampled_inputs(spec, hidden[:, :positions], noise, 1))[TOKEN][0]
        != engine.write(embeddings[:, :positions])
        for positions in PREFIXES
    ]
    limit = limits.NATIVE_CODES[engine.manifest.graphs[BACKBONE].precision]
    return Check("share of tokens unlike ONNX Runtime's", float(np.mean(apart)), limit)


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
