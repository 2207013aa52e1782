"""Speech tokens in JSON lines: the format that tokenizing writes and LM training reads.

A frame has one code for each of the codec's streams: `(a, b, c)` for FACodec, whose streams are
content 1, content 2 and prosody. One utterance is one line. With one head (next-token prediction)
its frames are interleaved:

    {"uttid": "u1", "text": "They know it.", "tokens": "<a420><b983><c726><a363>…"}

With N = K G heads for K streams, a step yields G frames. `head_x_g` holds stream x of the frames
g-1, g-1+G, g-1+2G, …, and `<|speech_pad|>` fills up the last step:

    {"uttid": "u1", "text": "They know it.", "tokens": {"head_a_1": "<a420>…", "head_b_1": …}}

Keys beyond the published ones are optional: `spk_emb_path` (a stored speaker embedding),
`symbol_frames` (how many frames each symbol of the text lasts; their sum is the number of
frames), `sentence` (the spelling, when `text` holds phonemes), `question` (what the spoken text
answers) and `streams` (sizes and rate of the codec's streams, if they are not FACodec's). Each
line describes itself, so files can be split, shuffled and joined. In and out: text, numpy arrays.
This module knows neither audio nor vocabularies.
"""

from __future__ import annotations

import functools
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
from formats.streams import FACODEC, LETTERS, Streams, parse_streams

SPEECH_PAD = "<|speech_pad|>"
TOKENS_AT_ONCE = 1000

_PAD_LETTER, _PAD_CODE = "z", -1
_NO_CODES = str.maketrans("", "", "<>-0123456789")
_NO_LETTERS = str.maketrans(f"<>{LETTERS}{_PAD_LETTER}", " " * (3 + len(LETTERS)))


@dataclass(frozen=True)
class TokenizedUtterance:
    """One line: `frames` is int64 [T, K], a column for each of the K `streams`."""

    uttid: str
    text: str
    frames: np.ndarray
    spk_emb_path: str | None = None
    symbol_frames: tuple[int, ...] | None = None
    sentence: str | None = None
    question: str | None = None
    streams: Streams = FACODEC

    @property
    def seconds(self) -> float:
        """How long the speech lasts."""
        return len(self.frames) / self.streams.frames_per_second


def format_ntp(frames: np.ndarray, streams: Streams) -> str:
    """Frames int64 [T, K] interleaved, `<a1><b2><c3><a4>…`."""
    names = streams.names
    return "".join(
        f"<{name}{code}>"
        for frame in frames.tolist()
        for name, code in zip(names, frame, strict=True)
    )


def parse_ntp(tokens: str, streams: Streams) -> np.ndarray:
    """The frames int64 [T, K] of interleaved tokens. Raises `UserError`."""
    letters, codes = _scan(tokens, streams)
    if len(codes) % streams.count:
        raise UserError(f"{len(codes)} tokens do not make whole frames of {streams.count}")
    expected = streams.names * (len(codes) // streams.count)
    if letters != expected:
        index = next(i for i, letter in enumerate(letters) if letter != expected[i])
        raise UserError(f"token {index + 1} must be of stream {expected[index]!r}")
    return codes.reshape(-1, streams.count)


def format_mtp(frames: np.ndarray, heads: int, streams: Streams) -> dict[str, str]:
    """Frames int64 [T, K] as ceil(T / G) tokens of each head, named `head_a_1` and so on."""
    group = streams.frames_per_step(heads)
    steps = -(-len(frames) // group)
    padded = np.full((steps * group, streams.count), _PAD_CODE, np.int64)
    padded[: len(frames)] = frames
    return {
        f"head_{name}_{position + 1}": "".join(
            SPEECH_PAD if code == _PAD_CODE else f"<{name}{code}>"
            for code in padded[position::group, column].tolist()
        )
        for position in range(group)
        for column, name in enumerate(streams.names)
    }


def parse_mtp(tokens: dict[str, Any], heads: int, streams: Streams) -> np.ndarray:
    """The frames int64 [T, K] of the tokens of each head. Raises `UserError` naming the head."""
    group = streams.frames_per_step(heads)
    names = [f"head_{name}_{g + 1}" for g in range(group) for name in streams.names]
    if set(tokens) != set(names):
        odd = sorted(set(tokens) ^ set(names))
        raise UserError(f"needs the {heads} heads {names[0]} … {names[-1]}; see {odd[0]!r}")
    columns = [_parse_head(tokens[name], name, streams) for name in names]
    for name, column in zip(names, columns, strict=True):
        if len(column) != len(columns[0]):
            raise UserError(f"{name} has {len(column)} tokens, {names[0]} {len(columns[0])}")
    codes = np.stack(columns, axis=1).reshape(-1, streams.count)  # (steps * G, K)
    return _drop_padding(codes, group)


def _parse_head(tokens: Any, name: str, streams: Streams) -> np.ndarray:
    stream = name.split("_")[1]
    if not isinstance(tokens, str):
        raise UserError(f"{name} must be a string")
    try:
        letters, codes = _scan(tokens, streams)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    others = letters.replace(stream, "").replace(_PAD_LETTER, "")
    if others:
        index = letters.index(others[0])
        raise UserError(f"{name}: token {index + 1} is of stream {others[0]!r}")
    return codes


def _scan(tokens: str, streams: Streams) -> tuple[str, np.ndarray]:
    """Each token's stream, "z" for a pad, and its code, int64, -1 for a pad."""
    pattern, end = _token_pattern(streams.names), 0
    while some := pattern.match(tokens, end):
        end = some.end()
    if end != len(tokens):
        raise UserError(f"no speech token at character {end + 1}: {tokens[end : end + 20]!r}")
    tokens = tokens.replace(SPEECH_PAD, f"<{_PAD_LETTER}{_PAD_CODE}>")
    letters = tokens.translate(_NO_CODES)
    codes = np.fromstring(tokens.translate(_NO_LETTERS), np.int64, sep=" ")
    sizes = _sizes_by_letter(streams)[np.frombuffer(letters.encode(), np.uint8)]
    beyond = np.flatnonzero(codes >= sizes)
    if len(beyond):
        token = f"<{letters[beyond[0]]}{codes[beyond[0]]}>"
        raise UserError(f"{token} is beyond the {sizes[beyond[0]]} codes of its stream")
    return letters, codes


@functools.lru_cache
def _token_pattern(names: str) -> re.Pattern[str]:
    """Some tokens of the streams with these letters, and pads: each takes memory in a match."""
    token = rf"<(?:[{names}](?:0|[1-9]\d{{0,4}})|\|speech_pad\|)>"
    return re.compile(rf"(?:{token}){{1,{TOKENS_AT_ONCE}}}", re.ASCII)


@functools.lru_cache
def _sizes_by_letter(streams: Streams) -> np.ndarray:
    """int64 [128] by a letter's ASCII code; pads, whose code is -1, fit any size."""
    sizes = np.zeros(128, np.int64)
    for letter, size in zip(streams.names, streams.sizes, strict=True):
        sizes[ord(letter)] = size
    return sizes


def _drop_padding(codes: np.ndarray, group: int) -> np.ndarray:
    padded = codes == _PAD_CODE
    kept = len(codes) - int(padded.all(axis=1).sum())
    if padded[:kept].any() or len(codes) - kept >= group:
        raise UserError(f"{SPEECH_PAD} may only fill up the last step, by whole frames")
    return codes[:kept]


def format_utterance(utterance: TokenizedUtterance, heads: int) -> str:
    """One line of JSON without its newline; `heads` is 1 for next-token prediction."""
    frames, streams = utterance.frames, utterance.streams
    values: dict[str, Any] = {"uttid": utterance.uttid, "text": utterance.text}
    values["tokens"] = (
        format_ntp(frames, streams) if heads == 1 else format_mtp(frames, heads, streams)
    )
    if streams != FACODEC:
        values["streams"] = streams.to_json()
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
    streams = _parse_streams(values.get("streams"))
    frames = _parse_tokens(values.get("tokens"), heads, streams)
    return TokenizedUtterance(
        uttid=_text(values, "uttid"),
        text=_text(values, "text"),
        frames=frames,
        spk_emb_path=_optional_text(values, "spk_emb_path"),
        symbol_frames=_symbol_frames(values.get("symbol_frames"), len(frames)),
        sentence=_optional_text(values, "sentence"),
        question=_optional_text(values, "question"),
        streams=streams,
    )


def _parse_streams(values: Any) -> Streams:
    return FACODEC if values is None else parse_streams(values, "key 'streams'")


def _parse_tokens(tokens: Any, heads: int, streams: Streams) -> np.ndarray:
    expected: Any = str if heads == 1 else dict
    if not isinstance(tokens, expected):
        form = "one string" if heads == 1 else f"an object of {heads} strings"
        raise UserError(f"key 'tokens': must be {form} for {heads} head{'s' * (heads > 1)}")
    try:
        return parse_ntp(tokens, streams) if heads == 1 else parse_mtp(tokens, heads, streams)
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


def read_utterances(
    path: Path, heads: int, streams: Streams | None = None
) -> Iterator[TokenizedUtterance]:
    """Yield the utterances of a file, one at a time. `UserError` names the line and the key.

    With `streams`, an utterance with other streams is refused, because another codec made it.
    """
    for number, line in read_lines(Path(path)):
        try:
            utterance = parse_utterance(line, heads)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        if streams is not None and utterance.streams != streams:
            raise UserError(
                f"{path}, line {number}: has tokens of {utterance.streams}, not of {streams}; "
                "tokenize the recordings with the codec that all others were tokenized with"
            )
        yield utterance


def find_streams(path: Path) -> Streams:
    """The streams of a file's tokens, by its first line; FACodec's if it is empty."""
    for number, line in read_lines(Path(path)):
        try:
            values = json.loads(line)
            return _parse_streams(values.get("streams") if isinstance(values, dict) else None)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not valid JSON ({error})") from None
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    return FACODEC


def write_utterances(path: Path, utterances: Iterable[TokenizedUtterance], heads: int) -> int:
    """Write a file, which appears complete or not at all; returns the number of lines."""
    count = 0
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as lines:
        for utterance in utterances:
            lines.write(format_utterance(utterance, heads) + "\n")
            count += 1
    return count
