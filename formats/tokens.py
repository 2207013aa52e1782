"""Speech tokens in JSON lines: the format that tokenizing writes and LM training reads.

A frame is three codes `(a, b, c)`: content 1, content 2, prosody, 80 frames a second. One
utterance is one line. With one head (next-token prediction) its frames are interleaved:

    {"uttid": "u1", "text": "They know it.", "tokens": "<a420><b983><c726><a363>…"}

With N = 3 G heads a step yields G frames, and stream `head_x_g` holds the frames g-1, g-1+G,
g-1+2G, …; the last step is filled up with `<|speech_pad|>`:

    {"uttid": "u1", "text": "They know it.", "tokens": {"head_a_1": "<a420>…", "head_b_1": …}}

Keys beyond the published ones are optional: `spk_emb_path` (a stored speaker embedding),
`symbol_frames` (how many frames each symbol of the text lasts; their sum is the number of
frames), `sentence` (the spelling, when `text` holds phonemes) and `question` (what the spoken
text answers). In and out: text, numpy arrays. This module knows neither audio nor vocabularies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commands.errors import UserError
from formats.files.atomic import replacing
from formats.files.text_files import read_lines

CODEBOOKS = "abc"
CODES = 1024
FRAMES_PER_SECOND = 80
SPEECH_PAD = "<|speech_pad|>"

_PAD_LETTER, _PAD_CODE = "p", -1
_STREAM = re.compile(r"(?:<(?:[abc](?:0|[1-9]\d{0,3})|\|speech_pad\|)>)*+", re.ASCII)
_NO_CODES = str.maketrans("", "", "<>-0123456789")
_NO_LETTERS = str.maketrans(f"<>{CODEBOOKS}{_PAD_LETTER}", " " * (3 + len(CODEBOOKS)))


@dataclass(frozen=True)
class TokenizedUtterance:
    """One line: `frames` is int64 [T, 3], columns (a, b, c)."""

    uttid: str
    text: str
    frames: np.ndarray
    spk_emb_path: str | None = None
    symbol_frames: tuple[int, ...] | None = None
    sentence: str | None = None
    question: str | None = None

    @property
    def seconds(self) -> float:
        """How long the speech lasts."""
        return len(self.frames) / FRAMES_PER_SECOND


def format_ntp(frames: np.ndarray) -> str:
    """Frames int64 [T, 3] as one interleaved stream, `<a1><b2><c3><a4>…`."""
    return "".join(
        f"<{book}{code}>"
        for frame in frames.tolist()
        for book, code in zip(CODEBOOKS, frame, strict=True)
    )


def parse_ntp(stream: str) -> np.ndarray:
    """The frames int64 [T, 3] of an interleaved stream. Raises `UserError`."""
    letters, codes = _scan(stream)
    if len(codes) % len(CODEBOOKS):
        raise UserError(f"{len(codes)} tokens do not make whole frames of three")
    for index, letter in enumerate(letters):
        expected = CODEBOOKS[index % len(CODEBOOKS)]
        if letter != expected:
            raise UserError(f"token {index + 1} must be of codebook {expected!r}")
    return codes.reshape(-1, len(CODEBOOKS))


def frames_to_streams(frames: np.ndarray, heads: int) -> dict[str, str]:
    """Frames int64 [T, 3] as `heads` streams of ceil(T / G) tokens, named `head_a_1` and so on."""
    group = frames_per_step(heads)
    steps = -(-len(frames) // group)
    padded = np.full((steps * group, len(CODEBOOKS)), _PAD_CODE, np.int64)
    padded[: len(frames)] = frames
    return {
        f"head_{book}_{position + 1}": "".join(
            SPEECH_PAD if code == _PAD_CODE else f"<{book}{code}>"
            for code in padded[position::group, column].tolist()
        )
        for position in range(group)
        for column, book in enumerate(CODEBOOKS)
    }


def parse_streams(streams: dict[str, Any], heads: int) -> np.ndarray:
    """The frames int64 [T, 3] of `heads` streams. Raises `UserError` naming the stream."""
    group = frames_per_step(heads)
    names = [f"head_{book}_{g + 1}" for g in range(group) for book in CODEBOOKS]
    if set(streams) != set(names):
        odd = sorted(set(streams) ^ set(names))
        raise UserError(f"needs the {heads} streams {names[0]} … {names[-1]}; see {odd[0]!r}")
    columns = [_parse_stream(streams[name], name) for name in names]
    for name, column in zip(names, columns, strict=True):
        if len(column) != len(columns[0]):
            raise UserError(f"{name} has {len(column)} tokens, {names[0]} {len(columns[0])}")
    codes = np.stack(columns, axis=1).reshape(-1, len(CODEBOOKS))  # (steps * G, 3)
    return _drop_padding(codes, group)


def frames_per_step(heads: int) -> int:
    """G = heads / 3. Raises `UserError` unless `heads` is a positive multiple of 3."""
    if heads < len(CODEBOOKS) or heads % len(CODEBOOKS):
        raise UserError(f"heads must be a multiple of {len(CODEBOOKS)} (or 1), not {heads}")
    return heads // len(CODEBOOKS)


def _parse_stream(stream: Any, name: str) -> np.ndarray:
    book = name.split("_")[1]
    if not isinstance(stream, str):
        raise UserError(f"{name} must be a string")
    try:
        letters, codes = _scan(stream)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    others = letters.replace(book, "").replace(_PAD_LETTER, "")
    if others:
        index = letters.index(others[0])
        raise UserError(f"{name}: token {index + 1} is of codebook {others[0]!r}")
    return codes


def _scan(stream: str) -> tuple[str, np.ndarray]:
    """Each token's codebook, "p" for a pad, and its code, int64, -1 for a pad."""
    match = _STREAM.match(stream)
    end = match.end() if match else 0
    if end != len(stream):
        raise UserError(f"no speech token at character {end + 1}: {stream[end : end + 20]!r}")
    tokens = stream.replace(SPEECH_PAD, f"<{_PAD_LETTER}{_PAD_CODE}>")
    letters = tokens.translate(_NO_CODES)
    codes = np.fromstring(tokens.translate(_NO_LETTERS), np.int64, sep=" ")
    beyond = np.flatnonzero(codes >= CODES)
    if len(beyond):
        token = f"<{letters[beyond[0]]}{codes[beyond[0]]}>"
        raise UserError(f"{token} is beyond the {CODES} codes of a codebook")
    return letters, codes


def _drop_padding(codes: np.ndarray, group: int) -> np.ndarray:
    padded = codes == _PAD_CODE
    kept = len(codes) - int(padded.all(axis=1).sum())
    if padded[:kept].any() or len(codes) - kept >= group:
        raise UserError(f"{SPEECH_PAD} may only fill up the last step, by whole frames")
    return codes[:kept]


def format_utterance(utterance: TokenizedUtterance, heads: int) -> str:
    """One line of JSON without its newline; `heads` is 1 for next-token prediction."""
    frames = utterance.frames
    values: dict[str, Any] = {"uttid": utterance.uttid, "text": utterance.text}
    values["tokens"] = format_ntp(frames) if heads == 1 else frames_to_streams(frames, heads)
    for key in ("spk_emb_path", "symbol_frames", "sentence", "question"):
        if getattr(utterance, key) is not None:
            values[key] = getattr(utterance, key)
    return json.dumps(values, ensure_ascii=False)


def parse_utterance(line: str, heads: int) -> TokenizedUtterance:
    """Read one line. Raises `UserError` naming the key."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"must be a JSON object, not {type(values).__name__}")
    frames = _parse_tokens(values.get("tokens"), heads)
    return TokenizedUtterance(
        uttid=_text(values, "uttid"),
        text=_text(values, "text"),
        frames=frames,
        spk_emb_path=_optional_text(values, "spk_emb_path"),
        symbol_frames=_symbol_frames(values.get("symbol_frames"), len(frames)),
        sentence=_optional_text(values, "sentence"),
        question=_optional_text(values, "question"),
    )


def _parse_tokens(tokens: Any, heads: int) -> np.ndarray:
    expected: Any = str if heads == 1 else dict
    if not isinstance(tokens, expected):
        form = "one string" if heads == 1 else f"an object of {heads} streams"
        raise UserError(f"key 'tokens': must be {form} for {heads} head{'s' * (heads > 1)}")
    try:
        return parse_ntp(tokens) if heads == 1 else parse_streams(tokens, heads)
    except UserError as error:
        raise UserError(f"key 'tokens': {error}") from None


def _optional_text(values: dict[str, Any], key: str) -> str | None:
    return None if values.get(key) is None else _text(values, key)


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise UserError(f"key {key!r}: must be a string")
    return value


def _symbol_frames(counts: Any, frames: int) -> tuple[int, ...] | None:
    if counts is None:
        return None
    whole = isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)
    if not whole or sum(counts) != frames:
        raise UserError(f"key 'symbol_frames': must be counts that add up to {frames} frames")
    return tuple(counts)


def read_utterances(path: Path, heads: int) -> Iterator[TokenizedUtterance]:
    """Yield the utterances of a file, one at a time. `UserError` names the line and the key."""
    for number, line in read_lines(Path(path)):
        try:
            yield parse_utterance(line, heads)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None


def write_utterances(path: Path, utterances: Iterable[TokenizedUtterance], heads: int) -> int:
    """Write a file, which appears complete or not at all; returns the number of lines."""
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as lines:
        for utterance in utterances:
            lines.write(format_utterance(utterance, heads) + "\n")
            count += 1
    return count
