"""History corruption: wrong speech tokens in the input, right ones as labels.

In: a batch's token ids. Out: the same with some speech steps replaced. When a model speaks, it
reads its own mistakes. Random codes teach it to rely on the text as well as on its history. Codes
that it predicted are the mistakes from which it will have to continue (parallel scheduled sampling,
arXiv 1906.04331).
"""

from __future__ import annotations

import math

import torch

from formats.checkpoint.tokenizer import SpeechTokens

_LARGEST_SPAN = 2**62  # of random numbers; makes codes equally likely up to a negligible rest


def corrupt_history(
    token_ids: torch.Tensor,
    speech_mask: torch.Tensor,
    tokens: SpeechTokens,
    strength: float,
    generator: torch.Generator,
    predicted: torch.Tensor | None = None,
) -> torch.Tensor:
    """Replace all N tokens of a step by random codes of their streams, or by `predicted` ones
    (local codes int64 (B, L, N), several heads only).

    `token_ids` int64 (B, L, N). Each utterance draws its own probability from U(0, `strength`);
    `<eosp>` stays. Random numbers come from the CPU, so they are the same on every device.
    """
    batch, length, heads = token_ids.shape
    probability = torch.rand(batch, 1, generator=generator) * strength
    hit = torch.rand(batch, length, generator=generator) < probability
    sizes = torch.tensor([len(ids) for ids in tokens.codes])
    if predicted is None:  # a multiple of each size, so that all codes are equally likely
        span = min(math.lcm(*sizes.tolist()), _LARGEST_SPAN)
        drawn = torch.randint(span, token_ids.shape, generator=generator)
    else:
        drawn = predicted.cpu()
    if heads == 1:  # one stream after the other; each position keeps its own
        return _replace_interleaved(token_ids, speech_mask, tokens, hit, drawn)
    stream = torch.arange(heads) % len(sizes)
    codes = torch.from_numpy(tokens.code_table())  # (K, codes of the largest stream)
    noise = codes[stream, drawn % sizes[stream]].to(token_ids.device)
    hit = hit.to(token_ids.device) & speech_mask & (token_ids[..., 0] != tokens.end)
    return torch.where(hit[..., None], noise, token_ids)


def _replace_interleaved(
    token_ids: torch.Tensor,
    speech_mask: torch.Tensor,
    tokens: SpeechTokens,
    hit: torch.Tensor,
    drawn: torch.Tensor,
) -> torch.Tensor:
    device = token_ids.device
    drawn, replaced = drawn.to(device), token_ids
    for ids in tokens.codes:
        codes = torch.tensor(ids, device=device)
        of_stream = torch.isin(token_ids, codes) & (hit.to(device) & speech_mask)[..., None]
        replaced = torch.where(of_stream, codes[drawn % len(ids)], replaced)
    return replaced
