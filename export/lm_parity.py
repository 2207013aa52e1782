"""Do the language model's graphs agree with PyTorch?

In: a checkpoint and the graphs made from it. Out: figures with their limits: hidden states at
several lengths, the speaker projection, and greedy frames, which must be identical. torch is
imported when the comparison runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.checkpoint import EMBEDDINGS, Checkpoint
from export.graph_runner import Arrays, GraphRunner
from export.lm_checks import relative_difference
from export.weights import Array
from runtime.bundle import (
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
    Check,
    GraphSpec,
)
from train.lm_config import TOKENS_PER_FRAME

if TYPE_CHECKING:
    from train.checkpoint import LanguageModel

LENGTHS = (1, 17, 64)
STEPS = 12
PENALTIES = (1.0, 1.2)
RELATIVE_LIMIT = 1e-4  # fp32 sums in another order; measured 1e-6 on tiny and published sizes


def check_language_model_parity(
    checkpoint: Checkpoint, folder: Path, graphs: Mapping[str, GraphSpec]
) -> list[Check]:
    """Compare all language-model graphs in `folder` with the PyTorch model."""
    from train.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint.folder).model
    checks = [*compare_hidden_states(checkpoint, model, GraphRunner(folder, graphs[BACKBONE], 64))]
    speaker = None
    if SPEAKER_PROJECTION in graphs:
        speaker = _random((checkpoint.config.spk_emb_dim,))
        projection = GraphRunner(folder, graphs[SPEAKER_PROJECTION])
        checks.append(compare_speaker_projection(model, projection, speaker))
    return [*checks, *compare_frames(checkpoint, model, folder, graphs, speaker)]


def compare_hidden_states(
    checkpoint: Checkpoint, model: LanguageModel, backbone: GraphRunner
) -> Iterator[Check]:
    """Final-norm hidden states of random token sequences."""
    import torch

    rows = checkpoint.tensors[EMBEDDINGS].shape[0]
    for length in LENGTHS:
        ids = np.random.default_rng(length).integers(0, rows, length)
        embeddings = _embed(checkpoint, ids.tolist())
        backbone.reset()
        inputs = {INPUTS_EMBEDS: embeddings, PAST_LENGTH: np.zeros(1, np.int64)}
        hidden = backbone.run(inputs)[HIDDEN]
        with torch.inference_mode():
            reference = model.hidden_states(torch.from_numpy(embeddings)).numpy()
        difference = relative_difference(hidden, reference)
        yield Check(f"backbone: PyTorch, {length} positions", difference, RELATIVE_LIMIT)


def compare_speaker_projection(
    model: LanguageModel, projection: GraphRunner, speaker: Array
) -> Check:
    """The projected speaker embedding."""
    import torch

    assert model.spk_emb_proj is not None
    token = projection.run({SPEAKER: speaker[None]})[SPEAKER_TOKEN]
    with torch.inference_mode():
        reference = model.spk_emb_proj(torch.from_numpy(speaker)).numpy()
    difference = relative_difference(token, reference)
    return Check("speaker projection: PyTorch", difference, RELATIVE_LIMIT)


def compare_frames(
    checkpoint: Checkpoint,
    model: LanguageModel,
    folder: Path,
    graphs: Mapping[str, GraphSpec],
    speaker: Array | None,
) -> Iterator[Check]:
    """Greedy frames of a short prompt, with and without repetition penalty."""
    import torch

    from train.generate import DecodingOptions, generate_frames

    prompt = some_prompt(checkpoint)
    decoder = GreedyDecoder(checkpoint, folder, graphs, len(prompt) + STEPS)
    for penalty in PENALTIES:
        generation = decoder.decode(prompt, speaker, penalty, STEPS)
        options = DecodingOptions(repetition_penalty=penalty, max_steps=STEPS)
        voice = None if speaker is None else torch.from_numpy(speaker)
        reference = generate_frames(model, prompt, voice, options)
        differing = _differing_codes(generation.frames, reference.frames.numpy())
        name = f"codes that differ from PyTorch, penalty {penalty}"
        yield Check(name, float(differing + abs(generation.steps - reference.steps)), 0.0)


def some_prompt(checkpoint: Checkpoint) -> list[int]:
    """Ids of a prompt as the runtime makes them: bos, text, the speaker's place, <sosp>."""
    text = checkpoint.tokenizer.encode("Read this", add_special_tokens=False).ids
    tokens = checkpoint.tokens
    place = [tokens.placeholder] if tokens.placeholder is not None else []
    return [tokens.bos, *text, *place, tokens.start]


@dataclass(frozen=True)
class Generation:
    """`frames` int64 (T, 3); `steps` counts the one that stopped."""

    frames: Array
    steps: int


class GreedyDecoder:
    """The decoding loop in its plainest form."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        graphs: Mapping[str, GraphSpec],
        capacity: int,
    ) -> None:
        head = graphs[MTP_HEAD if MTP_HEAD in graphs else NTP_HEAD]
        self._checkpoint = checkpoint
        self._backbone = GraphRunner(folder, graphs[BACKBONE], capacity)
        self._head = GraphRunner(folder, head, capacity)
        self._head_inputs = {tensor.name for tensor in head.inputs}
        self._projection = (
            GraphRunner(folder, graphs[SPEAKER_PROJECTION])
            if SPEAKER_PROJECTION in graphs
            else None
        )

    def decode(
        self, prompt: Sequence[int], speaker: Array | None, penalty: float, max_steps: int
    ) -> Generation:
        """Frames that follow `prompt` until <eosp> or `max_steps`."""
        self._backbone.reset()
        self._head.reset()
        x, past_length = self._embed_prompt(prompt, speaker), 0
        codes: list[int] = []
        for step in range(max_steps):
            position = {PAST_LENGTH: np.array([past_length])}
            hidden = self._backbone.run({INPUTS_EMBEDS: x} | position)[HIDDEN]
            drawn = self._head.run(self._greedy_inputs(hidden, penalty) | self._used(position))
            codes += drawn[CODES][: drawn[KEPT_CODES][0]].tolist()
            if drawn[STOP][0]:
                return Generation(_whole_frames(codes), step + 1)
            past_length += x.shape[1]
            x = drawn[NEXT_EMBEDDING]
        return Generation(_whole_frames(codes), max_steps)

    def _embed_prompt(self, prompt: Sequence[int], speaker: Array | None) -> Array:
        embeddings = _embed(self._checkpoint, prompt)
        if self._projection is not None:
            assert speaker is not None
            token = self._projection.run({SPEAKER: speaker[None]})[SPEAKER_TOKEN]
            embeddings[:, np.array(prompt) == self._checkpoint.tokens.placeholder] = token
        return embeddings

    def _greedy_inputs(self, hidden: Array, penalty: float) -> Arrays:
        return {
            HIDDEN: hidden,
            REPETITION_PENALTY: np.array([penalty], np.float32),
            TEMPERATURE: np.ones(1, np.float32),
            TOP_K: np.ones(1, np.int64),
            TOP_P: np.ones(1, np.float32),
            NOISE: np.full(self._checkpoint.config.heads, 0.5, np.float32),
        }

    def _used(self, position: Arrays) -> Arrays:
        return position if PAST_LENGTH in self._head_inputs else {}


def _embed(checkpoint: Checkpoint, ids: Sequence[int]) -> Array:
    return checkpoint.rows("prompt", ids, of=EMBEDDINGS).read()[None]


def _whole_frames(codes: list[int]) -> Array:
    whole = len(codes) // TOKENS_PER_FRAME * TOKENS_PER_FRAME
    return np.array(codes[:whole], np.int64).reshape(-1, TOKENS_PER_FRAME)


def _differing_codes(frames: Array, reference: Array) -> int:
    shared = min(len(frames), len(reference))
    differing = np.count_nonzero(frames[:shared] != reference[:shared])
    return int(differing) + abs(len(frames) - len(reference)) * TOKENS_PER_FRAME


def _random(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)
