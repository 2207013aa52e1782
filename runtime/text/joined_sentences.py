"""Sentences typed without a space between them: "It was late.We left".

In: text, and a stop in it. Out: whether a sentence ends there. Addresses and file names also hold
stops within a word, but continue in lower case or with a part that only addresses have.
"""

from __future__ import annotations

import re

_CONTEXT = 200  # characters on each side that tell whether an address goes on
_ONLY_IN_ADDRESSES = "Com|Org|Net|Edu|Gov|Info|Biz|Html?|Pdf|Txt|Docx?|Exe|Zip|Jpe?g|Png|Js|Py"
JOINT = re.compile(
    rf"(?<=[a-z][a-z])[.!?]+(?=(?!(?:{_ONLY_IN_ADDRESSES})\b)(?:[A-Z][a-z]+|[AI])"
    r"(?:['’][a-z]{1,2})?(?!\.[a-z\d])[.!?,;:\"”’)]*(?:\s|$|(?<=[.!?])[A-Z]))"
)
_OF_ADDRESS = re.compile(r"[@/\\_#=\d]|^www\b|\.[a-z]")
_LAST_CHUNK = re.compile(r"\S*$")
_FIRST_CHUNK = re.compile(r"\S*")


def ends_joined_sentence(joint: re.Match[str]) -> bool:
    """Whether a match of `JOINT` ends a sentence: nothing next to it belongs to an address."""
    text = joint.string
    before = _LAST_CHUNK.search(text[max(0, joint.start() - _CONTEXT) : joint.start()])
    after = _FIRST_CHUNK.match(text[joint.end() : joint.end() + _CONTEXT])
    return not any(part and _OF_ADDRESS.search(part[0]) for part in (before, after))
