"""Markdown and HTML as they are read aloud: the words without the control characters.

In: a whole text, or one sentence of it, in which a mark may have lost its partner. Out: text in
which headings, list items and rows end like sentences; links are their words. Text without such
marks comes back as it was.
"""

from __future__ import annotations

import html
import re

_FENCE = re.compile(r"[ \t]*(?:`{3,}|~{3,})[ \t]*[\w+-]*[ \t]*")
_RULE = re.compile(r"[ \t]*(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|={2,}[ \t]*)")
_TABLE_RULE = re.compile(r"(?=[^|]*\|)(?=.*-)[-:| \t]+")
# Behind the row above it, where a sentence has lost its line breaks.
_INLINE_RULE = re.compile(r"\|[ \t]*\|(?:[ \t]*:?-+:?[ \t]*\|)+")
_REFERENCE = re.compile(r"[ \t]{0,3}\[[^\]\n]{1,200}\]:[ \t]+\S+.*")
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]*)+(?![ \t>=\d])")
_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+(.*)")
_CLOSING_HASHES = re.compile(r"(?<=[ \t])#+$")
_BULLET = re.compile(r"[ \t]*[-*+•][ \t]+(?:\[[ xX]\][ \t]+)?(?=\S)(.*)")
_NUMBERED = re.compile(r"[ \t]*(\d{1,3})[.)][ \t]+(?=\S)(.*)")
_ROW = re.compile(r"[ \t]*\|(.*)\|[ \t]*")
_SENTENCE_END = re.compile(r"[.!?…:;,][\"'”’)*_`]*$")

_TAGS = (
    "a abbr article aside b big blockquote body br button center cite code dd del details div "
    "dl dt em figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i img input ins kbd "
    "li link main mark meta nav ol option p pre q s samp script section small span strike "
    "strong style sub summary sup svg table tbody td th thead tr tt u ul var video"
)
_TAG = re.compile(rf"</?(?:{'|'.join(_TAGS.split())})\b(?:\s[^<>]{{0,500}})?/?>", re.IGNORECASE)
_INLINE_TAG = re.compile(
    r"</?(?:a|abbr|b|big|code|em|font|i|ins|kbd|mark|s|small|span|strong|u)\b", re.IGNORECASE
)
_COMMENT = re.compile(r"<!--[^<>]{0,1000}-->")
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,10}|#\d{2,6}|#[xX][0-9A-Fa-f]{2,5});")
_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,500})\]"
    r"(?:\([^()\n]{0,500}(?:\([^()\n]{0,200}\)[^()\n]{0,200})?\)|\[[^\[\]\n]{0,200}\])"
)
_FOOTNOTE = re.compile(r"\[\^[^\]\n]{1,50}\]")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^\s<>]{1,500})>")
# Around a word or an address: "Bob <bob@x.org>", "List<String>"; a relation has spaces.
_BRACKETED = re.compile(
    r"(?<![<=\d])<(?!\d|-)(/?[^\W\d_][^\s<>=]{0,200}(?:, ?[^\W\d_][^<>=,]{0,60}){0,5})>(?!=)"
)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!|>~-])")
_CODE = re.compile(r"`+")
_STRONG = re.compile(r"\*{2,}|~~|==(?=\w)|(?<=[\w.!?,])==|(?<!\w)_+(?=[^\s_])|(?<=[^\s_])_+(?!\w)")
_EMPHASIS = re.compile(r"(?<![\w)*])\*(?=[^\s*\d])|(?<=[^\s*])\*(?![\w(*])")


def strip_markdown(text: str) -> str:
    """The text without Markdown's and HTML's control characters."""
    text = _INLINE_RULE.sub("|", _COMMENT.sub(" ", text))
    text = _TAG.sub(lambda tag: "" if _INLINE_TAG.match(tag[0]) else " ", text)
    lines = [_strip_line(line) for line in text.split("\n")]
    text = "\n".join(line for line in lines if line is not None)
    return _strip_inline(text)


def read_entities(text: str) -> str:
    """The characters that HTML writes by name or number: "&amp;" is "&"."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def _strip_line(line: str) -> str | None:
    """The line as a sentence, or None for a line that only draws."""
    if any(mark.fullmatch(line) for mark in (_FENCE, _RULE, _TABLE_RULE, _REFERENCE)):
        return None
    quote = _QUOTE.match(line)
    if quote:
        line = line[quote.end() :]
    heading = _HEADING.fullmatch(line)
    if heading:
        return _end_sentence(_CLOSING_HASHES.sub("", heading[1].rstrip()))
    item = _BULLET.fullmatch(line)
    if item:
        return _end_sentence(item[1])
    numbered = _NUMBERED.fullmatch(line)
    if numbered:
        return f"{numbered[1]}. {_end_sentence(numbered[2])}"
    row = _ROW.fullmatch(line)
    if row:
        return _end_sentence(", ".join(cell.strip() for cell in row[1].split("|") if cell.strip()))
    return line


def _end_sentence(words: str) -> str:
    words = words.rstrip()
    return words if not words or _SENTENCE_END.search(words) else f"{words}."


def _strip_inline(text: str) -> str:
    for _ in range(2):  # a picture may be the words of a link
        text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", _FOOTNOTE.sub("", text))
    for _ in range(2):  # "Map<String, List<Int>>"
        text = _BRACKETED.sub(_drop_brackets, text)
    text = _ESCAPE.sub(r"\1", text)
    return _EMPHASIS.sub("", _STRONG.sub("", _CODE.sub("", text)))


def _drop_brackets(found: re.Match[str]) -> str:
    """The words between brackets, not glued to what is beside them."""
    text = found.string
    before = " " if text[found.start() - 1 : found.start()].isalnum() else ""
    return f"{before}{found[1]}{' ' if text[found.end() : found.end() + 1].isalnum() else ''}"
