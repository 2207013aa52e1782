"""What every prompt of a bundle begins with: tokens whose keys and values can be known beforehand.

In: a checkpoint. Out: lists of token ids. What is found is checked again by whoever uses it: a
prompt that begins otherwise is read as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from export.bundle.manifest import describe_chat, describe_prompt
from export.readers.checkpoint import Checkpoint

LEAST_TOKENS = 2  # a single position costs a prompt nothing that is worth keeping
MOST_VOICES = 16  # whose own prefixes are kept
# Texts that begin with tokens of several kinds: what their prompts share belongs to no text.
BEGINNINGS = ("", "a", "The", "I'm", "x", "1", '"', "(", "-", "é", "ˈ", "中")


def find_prefixes(checkpoint: Checkpoint, voices: int, *, with_chat: bool) -> list[list[int]]:
    """Tokens before the text of a sentence, and before a question.

    With more than a few voices they end before the speaker.
    """
    prompt = describe_prompt(checkpoint)
    templates = [(prompt.template, "{text}")]
    if with_chat:
        templates.append((describe_chat(checkpoint).template, "{question}"))
    prefixes = []
    for template, field in templates:
        ids = [prompt.bos_id, *_shared_ids(checkpoint, template, field)]
        if voices > MOST_VOICES and prompt.placeholder_id is not None:
            ids = list(takewhile(lambda token: token != prompt.placeholder_id, ids))
        if len(ids) >= LEAST_TOKENS and ids not in prefixes:
            prefixes.append(ids)
    return prefixes


def _shared_ids(checkpoint: Checkpoint, template: str, field: str) -> Iterator[int]:
    """Ids that all prompts of a template begin with."""
    encoded: Sequence[Sequence[int]] = [
        checkpoint.tokenizer.encode(template.replace(field, text), add_special_tokens=False).ids
        for text in BEGINNINGS
    ]
    for ids in zip(*encoded, strict=False):
        if len(set(ids)) > 1:
            return
        yield ids[0]
