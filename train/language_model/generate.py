"""Decoding in plain PyTorch: the reference that exported graphs are compared with.

In: a model and the token ids of a prompt. If the prompt ends in `<sosp>`, the model speaks it. If
it ends before a written answer, the model writes the answer and then speaks it. Out: frames, and
the tokens of the answer. The code decodes one utterance at a time and aims to be clear and
correct; `runtime` is the fast way to speak. The rules are those of the published `generate`
(arXiv 2506.12537), with key-value caches for the backbone and for transformer heads, which the
published code lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from formats.checkpoint.language_model_config import SamplingSettings
from formats.checkpoint.tokenizer import SpeechTokens
from train.language_model.checkpoint import LanguageModel
from train.language_model.mtp import MtpModel
from train.language_model.ntp import NtpModel


@dataclass(frozen=True)
class DecodingOptions(SamplingSettings):
    """How tokens are chosen. Without `do_sample`, the default, only the penalty applies.

    Order: repetition penalty, temperature, top-k (0: off), top-p, draw.
    """

    do_sample: bool = False
    max_steps: int = 512
    seed: int = 0


@dataclass(frozen=True)
class Generation:
    """`frames` int64 (T, K), a column a stream; `finished` is False if `max_steps` cut it."""

    frames: torch.Tensor
    steps: int
    finished: bool


@torch.inference_mode()
def generate_frames(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    speaker: torch.Tensor | None = None,
    options: DecodingOptions | None = None,
) -> Generation:
    """Speak the prompt (ids, the last one is `<sosp>`); `speaker` is float (C,)."""
    options = options or DecodingOptions()
    embeddings = _embed_prompt(model, prompt_ids, speaker)
    return _speak(model, embeddings, _Context.empty(embeddings), options)


@torch.inference_mode()
def answer_question(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    speaker: torch.Tensor | None = None,
    options: DecodingOptions | None = None,
    max_tokens: int = 256,
) -> tuple[list[int], Generation | None]:
    """Write at most `max_tokens` likeliest tokens, the last one included, then speak.

    Only text is written. A model that is asked something it has not learnt might otherwise write
    speech codes before `<sosp>`. Speech follows `<sosp>`. If the text ends with `<|endoftext|>` or
    at the bound, there is no speech.
    """
    embeddings = _embed_prompt(model, prompt_ids, speaker)
    context, tokens = _Context.empty(embeddings), []
    ends = (model.tokens.start, model.tokens.eos)
    while True:
        hidden = model.hidden_states(embeddings, context.cache)
        context.hidden = torch.cat([context.hidden, hidden], 1)
        scores = model.lm_model.lm_head(hidden[:, -1])
        scores[:, list(model.tokens.never_written)] = -torch.inf
        tokens.append(int(scores.argmax()))
        embeddings = model.embedding(torch.tensor([tokens[-1:]], device=hidden.device))
        if tokens[-1] in ends or len(tokens) == max_tokens:
            break
    if tokens[-1] != model.tokens.start:
        return tokens, None
    return tokens, _speak(model, embeddings, context, options or DecodingOptions())


@dataclass
class _Context:
    """What the backbone has read so far: its cache, and the hidden states (1, L, H)."""

    cache: DynamicCache
    hidden: torch.Tensor

    @classmethod
    def empty(cls, embeddings: torch.Tensor) -> _Context:
        return cls(DynamicCache(), embeddings[:, :0])


def _embed_prompt(
    model: LanguageModel, prompt_ids: Sequence[int], speaker: torch.Tensor | None
) -> torch.Tensor:
    device = model.embedding.weight.device
    prompt = torch.tensor([list(prompt_ids)], device=device)
    return model.embed_text(prompt, None if speaker is None else speaker[None].to(device))


def _speak(
    model: LanguageModel, embeddings: torch.Tensor, context: _Context, options: DecodingOptions
) -> Generation:
    if isinstance(model, MtpModel):
        return _generate_mtp(model, embeddings, context, options)
    return _generate_ntp(model, embeddings, context, options)


def _generate_mtp(
    model: MtpModel, embeddings: torch.Tensor, context: _Context, options: DecodingOptions
) -> Generation:
    tokens, streams = model.tokens, len(model.tokens.codes)
    head_caches = [DynamicCache() for _ in model.heads]
    chooser = _TokenChooser(len(model.heads), options)
    frames: list[list[int]] = []
    position = 0
    before = context.hidden  # transformer heads read all of it
    for step in range(options.max_steps):
        hidden = model.hidden_states(embeddings, context.cache)
        hidden, before = torch.cat([before, hidden], 1), hidden[:, :0]
        scores = model.head_scores(hidden, position, head_caches)
        position += hidden.shape[1]
        local = [chooser.choose(head, scores[head][0, -1]) for head in range(len(scores))]
        if any(code == tokens.end_code(head) for head, code in enumerate(local)):
            return _generation(model, frames, step + 1, finished=True)
        kept = first_pad_frame(tokens, local)
        frames += _whole_frames(local[: streams * kept], streams)
        embeddings = model.embed_step(_fed_back(model, local, kept))[:, None]  # (1, 1, H)
    return _generation(model, frames, options.max_steps, finished=False)


def first_pad_frame(tokens: SpeechTokens, local: Sequence[int]) -> int:
    """How many frames of a step stand before its first pad token."""
    pads = (head for head, code in enumerate(local) if code == tokens.pad_code(head))
    return next(pads, len(local)) // len(tokens.codes)


def _fed_back(model: MtpModel, local: Sequence[int], kept: int) -> torch.Tensor:
    """Vocabulary ids (1, N) of a step; from the first padded frame on all are the pad."""
    real = kept * len(model.tokens.codes)
    ids = [
        int(head.small_to_orig[token]) if i < real else model.tokens.pad
        for i, (head, token) in enumerate(zip(model.heads, local, strict=True))
    ]
    return torch.tensor([ids], device=model.embedding.weight.device)


def _generate_ntp(
    model: NtpModel, embeddings: torch.Tensor, context: _Context, options: DecodingOptions
) -> Generation:
    """Step s may draw only codes of stream s mod K, or `<eosp>`; an unfinished frame is dropped."""
    tokens, streams = model.tokens, len(model.tokens.codes)
    chooser = _TokenChooser(streams, options)
    allowed = [
        torch.tensor(tokens.head_ids(slot)[: tokens.end_code(slot) + 1], device=embeddings.device)
        for slot in range(streams)
    ]
    codes: list[int] = []
    for step in range(options.max_steps):
        slot = step % streams
        hidden = model.hidden_states(embeddings, context.cache)
        token = chooser.choose(slot, model.scores(hidden[:, -1:], allowed[slot])[0, -1])
        if token == tokens.end_code(slot):
            return _generation(model, _whole_frames(codes, streams), step + 1, finished=True)
        codes.append(token)
        embeddings = model.embedding(allowed[slot][token].view(1, 1))
    return _generation(model, _whole_frames(codes, streams), options.max_steps, finished=False)


def _whole_frames(codes: Sequence[int], streams: int) -> list[list[int]]:
    whole = len(codes) // streams
    return [list(codes[streams * i : streams * (i + 1)]) for i in range(whole)]


def _generation(
    model: LanguageModel, frames: list[list[int]], steps: int, *, finished: bool
) -> Generation:
    codes = torch.tensor(frames, dtype=torch.int64).reshape(-1, len(model.tokens.codes))
    return Generation(codes, steps, finished)


class _TokenChooser:
    """Chooses local tokens and remembers, per stream, what it chose."""

    def __init__(self, streams: int, options: DecodingOptions) -> None:
        self._history: list[list[int]] = [[] for _ in range(streams)]
        self._options = options
        self._generator = torch.Generator().manual_seed(options.seed)

    def choose(self, stream: int, scores: torch.Tensor) -> int:
        """One token from the scores (outputs,) of `stream`."""
        options, history = self._options, self._history[stream]
        scores = scores.float().cpu()
        if options.repetition_penalty > 1.0 and history:
            scores = penalize(scores, history, options.repetition_penalty)
        if options.do_sample:
            weights = nucleus(scores / options.temperature, options.top_k, options.top_p)
            token = int(torch.multinomial(weights, 1, generator=self._generator))
        else:
            token = int(scores.argmax())
        history.append(token)
        return token


def penalize(scores: torch.Tensor, history: Sequence[int], penalty: float) -> torch.Tensor:
    """Scores of tokens in `history` become score * penalty if negative, score / penalty if not."""
    seen = torch.tensor(sorted(set(history)))
    old = scores[seen]
    return scores.scatter(0, seen, torch.where(old < 0, old * penalty, old / penalty))


def nucleus(scores: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Probabilities after top-k and then top-p. The token that crosses the threshold stays."""
    if 0 < top_k < scores.shape[0]:
        kept = torch.topk(scores, top_k)
        scores = torch.full_like(scores, -torch.inf).scatter(0, kept.indices, kept.values)
    if top_p < 1.0:
        ordered, order = torch.softmax(scores, 0).sort(descending=True)
        dropped = ordered.cumsum(0) - ordered > top_p  # the tokens before it have enough mass
        scores = scores.masked_fill(
            torch.zeros_like(dropped).scatter(0, order, dropped), -torch.inf
        )
    return torch.softmax(scores, 0)
