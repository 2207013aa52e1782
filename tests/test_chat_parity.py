"""Answers of `runtime.Chat` on an exported bundle against PyTorch: the same tokens and frames.

Tiny models write at random and would hardly ever come to `<sosp>`, so its embedding, which is its
output weight too, is turned towards one of the hidden states that a text goes through.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.graph.precisions import GraphNumbers
from export.language_model.graphs import language_model_graphs
from export.readers.checkpoint import open_checkpoint
from runtime import Chat, Sampling
from runtime.bundle.names import NATIVE
from runtime.speech.text_decoding import TextDecoder
from tests.export.lm_exports import Export, Recipe, random_speaker
from tests.native_pairs import export_pair
from tests.test_speech_parity import write_bundle
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint
from train.language_model.checkpoint import WEIGHTS_FILE, LanguageModel, load_checkpoint
from train.language_model.generate import DecodingOptions, Generation, answer_question

QUESTION = "Do they know it?"
TOKENS = 7  # that are written, `<sosp>` included
MAX_STEPS = 20

MODELS = [
    Recipe(heads=3, speaker_aware=True),
    Recipe(heads=6, head_kind="transformer", speaker_aware=True),
    Recipe(heads=12, head_kind="mlp"),
    Recipe(heads=1),
]


@dataclass(frozen=True)
class Chatting:
    """A loaded bundle and the model that it was made from."""

    chat: Chat
    export: Export

    def reference(self) -> tuple[list[int], Generation | None]:
        aware = self.export.checkpoint.config.spk_aware
        speaker = torch.from_numpy(random_speaker()) if aware else None
        options = DecodingOptions(max_steps=MAX_STEPS)
        return answer_question(self.export.model, asked(self.export), speaker, options)


def asked(export: Export) -> list[int]:
    checkpoint = export.checkpoint
    parts = checkpoint.config.prompts.chat_parts(with_speaker=checkpoint.config.spk_aware)
    ids = checkpoint.tokenizer.encode(parts.ask(QUESTION), add_special_tokens=False).ids
    return [checkpoint.tokens.bos, *ids]


@torch.inference_mode()
def lead_to_speech(folder: Path) -> None:
    """Make `<sosp>` the likeliest token after `TOKENS` - 1 others, and not before."""
    model = load_checkpoint(folder).model
    checkpoint = open_checkpoint(folder)
    export = Export(checkpoint, lambda: model, folder, {}, "")
    aware = checkpoint.config.spk_aware
    ids = torch.tensor([asked(export)])
    speaker = torch.from_numpy(random_speaker())[None] if aware else None
    embeddings = model.embed_text(ids, speaker)
    states = []
    for _ in range(TOKENS):
        states.append(model.hidden_states(embeddings)[0, -1])
        token = _scores(model, states[-1]).argmax()
        embeddings = torch.cat([embeddings, model.embedding(token)[None, None]], 1)
    others = torch.stack(states[:-1])  # the direction that only the last state has
    last = states[-1] - torch.linalg.lstsq(others.T, states[-1][:, None]).solution[:, 0] @ others
    row = last * (1.5 * _scores(model, states[-1]).max() / (last @ states[-1]))
    tensors = load_file(folder / WEIGHTS_FILE)
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    tensors[name][model.tokens.start] = row
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def _scores(model: LanguageModel, hidden: torch.Tensor) -> torch.Tensor:
    """Of tokens that are text."""
    scores = model.lm_model.lm_head(hidden)
    scores[list(model.tokens.never_written)] = -torch.inf
    return scores


Load = Callable[[Recipe, str], Chatting]


@pytest.fixture(scope="module")
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Load:
    codec = make_codec_checkpoint(tmp_path_factory.mktemp("codec"))

    @functools.cache
    def checkpoint_of(recipe: Recipe) -> Path:
        folder = make_lm_checkpoint(
            tmp_path_factory.mktemp("model"),
            recipe.heads,
            recipe.head_kind,
            recipe.speaker_aware,
            seed=recipe.heads,
            streams=TINY_STREAMS,
        )
        lead_to_speech(folder)
        return folder

    @functools.cache
    def load_once(recipe: Recipe, dialect: str) -> Chatting:
        source = checkpoint_of(recipe)
        checkpoint, folder = open_checkpoint(source), tmp_path_factory.mktemp(dialect)
        if dialect == NATIVE:
            request.getfixturevalue("native_library")
            pair = export_pair(source, codec, folder, text_head=True)
            export = Export(checkpoint, lambda: load_checkpoint(source).model, folder, {}, dialect)
            return Chatting(Chat(pair.native), export)
        graphs = language_model_graphs(checkpoint, GraphNumbers(dialect), with_text_head=True)
        specs = {graph.name: graph.save(folder) for graph in graphs}
        export = Export(checkpoint, lambda: load_checkpoint(source).model, folder, specs, dialect)
        engine = write_bundle(export, codec, tmp_path_factory.mktemp("engine") / "engine")
        return Chatting(Chat.load(engine, threads=1), export)

    return load_once


@pytest.mark.parametrize("dialect", ["ort", "portable", "basic", NATIVE])
@pytest.mark.parametrize("recipe", MODELS, ids=str)
def test_tokens_and_frames_equal_pytorch(
    load: Load, recipe: Recipe, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chatting = load(recipe, dialect)
    tokens, speech = chatting.reference()
    assert len(tokens) == TOKENS
    assert speech is not None
    written: list[int] = []
    write = TextDecoder.write

    def listen(*arguments: Any) -> Generator[int, None, Any]:
        writing = write(*arguments)
        while True:
            try:
                written.append(next(writing))
            except StopIteration as finished:
                return finished.value
            yield written[-1]

    monkeypatch.setattr(TextDecoder, "write", listen)
    answer = chatting.chat.answer(
        QUESTION, voice=random_speaker(), sampling=Sampling(do_sample=False), max_steps=MAX_STEPS
    )
    assert written == tokens
    assert len(answer.frames) > 1
    np.testing.assert_array_equal(answer.frames, speech.frames.numpy())
    assert answer.finished == speech.finished
