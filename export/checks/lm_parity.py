"""Compares the language model's graphs with PyTorch.

In: a checkpoint and the graphs made from it. Out: figures with their limits: hidden states at
several lengths, the speaker projection, and greedy frames, which must be identical in fp32. torch
is imported when the comparison runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.checks import limits
from export.checks.differences import relative_difference
from export.checks.head_calls import greedy_inputs, head_name
from export.checks.lm_agreement import Speech, draw_along, speak
from export.graph.precisions import QUANTIZED
from export.graph.runner import GraphRunner
from export.readers.checkpoint import EMBEDDINGS, Checkpoint
from formats.precisions import Precision
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

if TYPE_CHECKING:
    from train.language_model.checkpoint import LanguageModel

LENGTHS = (1, 17, 64)
STEPS = 12
FOLLOWED_STEPS = 32
PENALTIES = (1.0, 1.2)


def check_language_model_parity(
    checkpoint: Checkpoint, folder: Path, graphs: Mapping[str, GraphSpec]
) -> list[Check]:
    """Compare all language-model graphs in `folder` with the PyTorch model.

    PyTorch computes everything first, because two copies of a large model might not fit into
    memory.
    """
    return compare_with(run_pytorch(checkpoint), checkpoint, folder, graphs)


def compare_with(
    reference: Reference, checkpoint: Checkpoint, folder: Path, graphs: Mapping[str, GraphSpec]
) -> list[Check]:
    """Compare the graphs in `folder` with PyTorch's results for the same inputs."""
    precision = graphs[BACKBONE].precision
    capacity = max(*LENGTHS, reference.speech.embeddings.shape[1])
    backbone = GraphRunner(folder, graphs[BACKBONE], capacity)
    checks = [*_compare_hidden_states(reference, backbone, precision)]
    if SPEAKER_PROJECTION in graphs:
        projection = GraphRunner(folder, graphs[SPEAKER_PROJECTION])
        checks.append(_compare_speaker_projection(reference, projection))
    if precision == "fp32":
        return [*checks, *_compare_frames(checkpoint, reference, folder, graphs)]
    differing = np.mean(draw_along(reference.speech, folder, graphs) != reference.speech.codes)
    name = "share of codes that differ from PyTorch"
    return [*checks, Check(name, float(differing), limits.DIFFERING_CODES[precision])]


@dataclass(frozen=True)
class GreedyFrames:
    """Greedy speech. frames: int64 (T, K). steps: how many there were, the last one included."""

    frames: Array
    steps: int


@dataclass(frozen=True)
class Reference:
    """PyTorch's results for some inputs."""

    embeddings: list[Array]  # (1, positions, H) each
    hidden: list[Array]  # the hidden states of each
    speaker: Array | None  # (speaker channels)
    speaker_token: Array | None  # (H), its projection
    greedy: dict[float, GreedyFrames]  # by repetition penalty
    speech: Speech


def run_pytorch(checkpoint: Checkpoint) -> Reference:
    """Run the PyTorch model of `checkpoint` on random tokens and on a short prompt."""
    import torch

    from train.language_model.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint.folder).model
    embeddings = [_random_embeddings(checkpoint, length) for length in LENGTHS]
    speaker = _random_speaker(checkpoint)
    with torch.inference_mode():
        return Reference(
            embeddings=embeddings,
            hidden=[model.hidden_states(torch.from_numpy(x)).numpy() for x in embeddings],
            speaker=speaker,
            speaker_token=_project_speaker(model, speaker),
            greedy={
                penalty: generate(model, some_prompt(checkpoint), speaker, penalty, STEPS)
                for penalty in PENALTIES
            },
            speech=speak(model, some_prompt(checkpoint), speaker, FOLLOWED_STEPS),
        )


def generate(
    model: LanguageModel,
    prompt: Sequence[int],
    speaker: Array | None,
    penalty: float,
    max_steps: int,
) -> GreedyFrames:
    """Greedy decoding in PyTorch."""
    import torch

    from train.language_model.generate import DecodingOptions, generate_frames

    options = DecodingOptions(repetition_penalty=penalty, max_steps=max_steps)
    voice = None if speaker is None else torch.from_numpy(speaker)
    result = generate_frames(model, prompt, voice, options)
    return GreedyFrames(result.frames.numpy(), result.steps)


def _project_speaker(model: LanguageModel, speaker: Array | None) -> Array | None:
    import torch

    if speaker is None:
        return None
    assert model.spk_emb_proj is not None
    return np.asarray(model.spk_emb_proj(torch.from_numpy(speaker)).numpy())


def _compare_hidden_states(
    reference: Reference, backbone: GraphRunner, precision: Precision
) -> Iterator[Check]:
    """On random tokens. Models in few bits are compared on speech, because their scales were
    measured on speech and clip values that never occur in it."""
    pairs = [*zip(reference.embeddings, reference.hidden, strict=True)]
    if precision in QUANTIZED:
        pairs = [(reference.speech.embeddings, reference.speech.hidden)]
    for x, expected in pairs:
        backbone.reset()
        inputs = {INPUTS_EMBEDS: x, PAST_LENGTH: np.zeros(1, np.int64)}
        difference = relative_difference(backbone.run(inputs)[HIDDEN], expected)
        name = f"backbone = PyTorch, {x.shape[1]} positions"
        yield Check(name, difference, limits.HIDDEN[precision])


def _compare_speaker_projection(reference: Reference, projection: GraphRunner) -> Check:
    assert reference.speaker is not None
    assert reference.speaker_token is not None
    token = projection.run({SPEAKER: reference.speaker[None]})[SPEAKER_TOKEN]
    difference = relative_difference(token[0, 0], reference.speaker_token)
    return Check("speaker projection = PyTorch", difference, limits.SPEAKER_TOKEN)


def _compare_frames(
    checkpoint: Checkpoint,
    reference: Reference,
    folder: Path,
    graphs: Mapping[str, GraphSpec],
) -> Iterator[Check]:
    """Greedy frames of a short prompt, with and without repetition penalty."""
    prompt = some_prompt(checkpoint)
    decoder = GreedyDecoder(checkpoint, folder, graphs, len(prompt) + STEPS)
    for penalty, expected in reference.greedy.items():
        decoded = decoder.decode(prompt, reference.speaker, penalty, STEPS)
        differing = differing_codes(decoded.frames, expected.frames)
        name = f"codes that differ from PyTorch, penalty {penalty}"
        yield Check(name, float(differing + abs(decoded.steps - expected.steps)), 0.0)


def some_prompt(checkpoint: Checkpoint) -> list[int]:
    """Ids of a prompt as the runtime makes them: bos, text, the speaker's place, <sosp>."""
    text = checkpoint.tokenizer.encode("Read this", add_special_tokens=False).ids
    tokens = checkpoint.tokens
    place = [tokens.placeholder] if tokens.placeholder is not None else []
    return [tokens.bos, *text, *place, tokens.start]


class GreedyDecoder:
    """The decoding loop in its plainest form."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        graphs: Mapping[str, GraphSpec],
        capacity: int,
    ) -> None:
        head = graphs[head_name(graphs)]
        self._checkpoint = checkpoint
        self._backbone = GraphRunner(folder, graphs[BACKBONE], capacity)
        self._head = GraphRunner(folder, head, capacity)
        self._projection = (
            GraphRunner(folder, graphs[SPEAKER_PROJECTION])
            if SPEAKER_PROJECTION in graphs
            else None
        )

    def decode(
        self, prompt: Sequence[int], speaker: Array | None, penalty: float, max_steps: int
    ) -> GreedyFrames:
        """Frames that follow `prompt` until <eosp> or `max_steps`."""
        self._backbone.reset()
        self._head.reset()
        x, past_length = self.embed_prompt(prompt, speaker), 0
        codes: list[int] = []
        streams = self._checkpoint.config.streams.count
        for step in range(max_steps):
            position = {PAST_LENGTH: np.array([past_length])}
            hidden = self._backbone.run({INPUTS_EMBEDS: x} | position)[HIDDEN]
            drawn = self._head.run(greedy_inputs(self._head.spec, hidden, past_length, penalty))
            codes += drawn[CODES][0, : drawn[KEPT_CODES][0]].tolist()
            if drawn[STOP][0]:
                return GreedyFrames(whole_frames(codes, streams), step + 1)
            past_length += x.shape[1]
            x = drawn[NEXT_EMBEDDING]
        return GreedyFrames(whole_frames(codes, streams), max_steps)

    def embed_prompt(self, prompt: Sequence[int], speaker: Array | None) -> Array:
        """Input embeddings (1, positions, H)."""
        embeddings = _embed(self._checkpoint, prompt)
        if self._projection is not None:
            assert speaker is not None
            token = self._projection.run({SPEAKER: speaker[None]})[SPEAKER_TOKEN]
            embeddings[:, np.array(prompt) == self._checkpoint.tokens.placeholder] = token
        return embeddings


def _embed(checkpoint: Checkpoint, ids: Sequence[int] | Array) -> Array:
    return checkpoint.rows("prompt", ids, of=EMBEDDINGS).read()[None]


def whole_frames(codes: list[int], streams: int) -> Array:
    """Codes in order as frames (T, K), without those of a last frame that is not whole."""
    whole = len(codes) // streams * streams
    return np.array(codes[:whole], np.int64).reshape(-1, streams)


def differing_codes(frames: Array, reference: Array) -> int:
    shared = min(len(frames), len(reference))
    differing = np.count_nonzero(frames[:shared] != reference[:shared])
    return int(differing) + abs(len(frames) - len(reference)) * frames.shape[1]


def _random_embeddings(checkpoint: Checkpoint, positions: int) -> Array:
    rows = checkpoint.tensors[EMBEDDINGS].shape[0]
    return _embed(checkpoint, np.random.default_rng(positions).integers(0, rows, positions))


def _random_speaker(checkpoint: Checkpoint) -> Array | None:
    config = checkpoint.config
    if not config.spk_aware:
        return None
    return np.random.default_rng(0).standard_normal(config.spk_emb_dim).astype(np.float32)
