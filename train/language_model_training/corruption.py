"""History corruption: wrong speech tokens in the input, right ones as labels.

In: a batch's token streams. Out: the same with some speech steps replaced, so that a model does
not lean on its history alone, which at decoding is its own. Random codes teach it to look at the
text; the codes that it predicts itself are the mistakes that it will have to go on from
(scheduled sampling in parallel, arXiv 1906.04331).
"""

from __future__ import annotations

import torch

from formats.checkpoint.tokenizer import SpeechTokens


def corrupt_history(
    token_ids: torch.Tensor,
    speech_mask: torch.Tensor,
    tokens: SpeechTokens,
    strength: float,
    generator: torch.Generator,
    predicted: torch.Tensor | None = None,
) -> torch.Tensor:
    """Replace all N tokens of a step by random codes of their codebooks, or by `predicted` ones
    (local codes int64 (B, L, N), several streams only).

    `token_ids` int64 (B, L, N). Each utterance draws its own probability from U(0, `strength`);
    `<eosp>` stays. Drawn on the CPU, so that every device sees the same.
    """
    batch, length, streams = token_ids.shape
    probability = torch.rand(batch, 1, generator=generator) * strength
    hit = torch.rand(batch, length, generator=generator) < probability
    codes = torch.tensor(tokens.codes)  # (3, 1024)
    if predicted is None:
        drawn = torch.randint(codes.shape[1], token_ids.shape, generator=generator)
    else:
        drawn = predicted.cpu()
    if streams == 1:  # one codebook after the other; keep each position's own
        return _replace_interleaved(token_ids, speech_mask, codes, hit, drawn)
    book = torch.arange(streams) % codes.shape[0]
    noise = codes[book, drawn].to(token_ids.device)
    hit = hit.to(token_ids.device) & speech_mask & (token_ids[..., 0] != tokens.end)
    return torch.where(hit[..., None], noise, token_ids)


def _replace_interleaved(
    token_ids: torch.Tensor,
    speech_mask: torch.Tensor,
    codes: torch.Tensor,
    hit: torch.Tensor,
    drawn: torch.Tensor,
) -> torch.Tensor:
    device = token_ids.device
    replaced = token_ids
    for book in codes.to(device):
        of_book = torch.isin(token_ids, book) & (hit.to(device) & speech_mask)[..., None]
        replaced = torch.where(of_book, book[drawn.to(device)], replaced)
    return replaced
