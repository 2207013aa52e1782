"""How often graphs of fewer bits draw the code that PyTorch draws.

In: a prompt, the PyTorch model and the graphs. Out: the codes of both. PyTorch speaks greedily in
float32. The graphs get the inputs that PyTorch fed back to itself, so that a differing code does
not change later ones. It does not judge how speech of other codes sounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.checks.head_calls import greedy_inputs, head_name
from export.graph.runner import GraphRunner
from formats.weights import Array
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import (
    BACKBONE,
    CODES,
    HIDDEN,
    INPUTS_EMBEDS,
    PAST_LENGTH,
)

if TYPE_CHECKING:
    import torch

    from train.language_model.checkpoint import LanguageModel


@dataclass(frozen=True)
class Speech:
    """embeddings: what was fed. hidden: the states after it. Both are (1, prompt + steps - 1, H).
    codes: what was drawn, int64 (steps, N)."""

    embeddings: Array
    hidden: Array
    prompt_positions: int
    codes: Array


def speak(
    model: LanguageModel, prompt: Sequence[int], speaker: Array | None, max_steps: int
) -> Speech:
    """Greedy speech of the PyTorch model."""
    import torch

    from train.language_model.generate import DecodingOptions, generate_frames

    fed: list[torch.Tensor] = []

    def record(_module: object, _arguments: object, keywords: dict[str, Any]) -> None:
        fed.append(keywords["inputs_embeds"])

    hook = model.lm_model.model.register_forward_pre_hook(record, with_kwargs=True)
    voice = None if speaker is None else torch.from_numpy(speaker)
    generate_frames(model, prompt, voice, DecodingOptions(max_steps=max_steps))
    hook.remove()
    embeddings = torch.cat(fed, dim=1)
    hidden = model.hidden_states(embeddings)
    codes = _best_codes(model, hidden, len(prompt))
    return Speech(embeddings.numpy(), hidden.numpy(), len(prompt), codes)


def draw_along(speech: Speech, folder: Path, graphs: Mapping[str, GraphSpec]) -> Array:
    """The codes (steps, N) that the graphs draw at the steps of `speech`."""
    backbone = GraphRunner(folder, graphs[BACKBONE], speech.embeddings.shape[1])
    start = {PAST_LENGTH: np.zeros(1, np.int64)}
    hidden = backbone.run({INPUTS_EMBEDS: speech.embeddings} | start)[HIDDEN]
    del backbone  # a large one might not fit into memory beside the head
    head_spec = graphs[head_name(graphs)]
    head = GraphRunner(folder, head_spec, speech.embeddings.shape[1])
    codes, past_length = [], 0
    for end in range(speech.prompt_positions, speech.embeddings.shape[1] + 1):
        inputs = greedy_inputs(head_spec, hidden[:, past_length:end], past_length)
        codes.append(head.run(inputs)[CODES][0])
        past_length = end
    return np.array(codes)


def _best_codes(model: LanguageModel, hidden: torch.Tensor, prompt_positions: int) -> Array:
    """The most likely codes (steps, N) after the prompt's last position and each later one."""
    import torch

    from train.language_model.mtp import MtpModel

    if isinstance(model, MtpModel):
        scores = model.head_scores(hidden)
        best = torch.stack([of_head[0].argmax(-1) for of_head in scores], dim=1)
        return best[prompt_positions - 1 :].numpy()
    best_codes = []
    for step, state in enumerate(hidden[0, prompt_positions - 1 :]):
        stream = step % len(model.tokens.codes)
        slot = torch.tensor([*model.tokens.codes[stream], model.tokens.end])
        best_codes.append([int(model.scores(state[None, None], slot).argmax())])
    return np.array(best_codes)
