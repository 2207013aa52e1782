"""The tokenizer of a checkpoint: loading, the speech tokens in it, and making new ones.

In: a checkpoint or base-model directory, or phoneme strings; the streams of the codec. Out: a
`tokenizers.Tokenizer`, the ids of the speech tokens, and the tokenizer files of a new checkpoint.
Ids are always looked up, never assumed. It knows nothing about models and needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from commands.errors import UserError
from formats.checkpoint.prompts import (
    ASSISTANT,
    HUMAN,
    SPEAKER_PLACEHOLDER,
    SPEECH_END,
    SPEECH_PAD,
    SPEECH_START,
)
from formats.checkpoint.qwen2_tokenizer import (
    ADDED_TOKENS_FILE,
    SETTINGS_FILE,
    TOKENIZER_FILE,
    add_tokens,
    load_qwen2_files,
    read_added_tokens,
    read_text,
)
from formats.files.atomic import write_atomically
from formats.streams import FACODEC, Streams

BOS = "<|im_start|>"
EOS = "<|endoftext|>"
UNKNOWN = "<unk>"
# A stress mark and the phoneme after it are one symbol, so one token.
_PHONEME_PATTERN = "[ˈˌ]*."


def code_tokens(streams: Streams) -> list[str]:
    """The tokens of all codes, stream by stream: `<a0>`, `<a1>`, … `<b0>` …"""
    sizes = zip(streams.names, streams.sizes, strict=True)
    return [f"<{name}{code}>" for name, size in sizes for code in range(size)]


def mtp_tokens(streams: Streams) -> list[str]:
    """The speech tokens of a multi-token model, in the published order."""
    before = (HUMAN, ASSISTANT, SPEECH_START, SPEAKER_PLACEHOLDER)
    return [*before, *code_tokens(streams), SPEECH_END, SPEECH_PAD]


def ntp_tokens(streams: Streams) -> list[str]:
    """The speech tokens of a next-token model, in the published order."""
    after = (SPEECH_START, SPEECH_END, HUMAN, ASSISTANT, SPEAKER_PLACEHOLDER, "[ta]", "[ua]")
    return [*code_tokens(streams), *after]


@dataclass(frozen=True)
class SpeechTokens:
    """Ids of the model's special tokens and codes in the checkpoint's tokenizer."""

    bos: int
    eos: int
    start: int
    end: int
    pad: int | None  # None in NTP models
    placeholder: int | None  # needed by speaker-aware models only
    codes: tuple[tuple[int, ...], ...]  # [stream][code]

    def stream_of(self, head: int) -> int:
        """The stream of head `head`. Heads are in the order a1 b1 c1 a2 …"""
        return head % len(self.codes)

    def head_ids(self, head: int) -> tuple[int, ...]:
        """Ids of the outputs of head `head`: codes, `<eosp>`, then the pad."""
        first_frame = head < len(self.codes)
        pad = () if first_frame or self.pad is None else (self.pad,)
        return (*self.codes[self.stream_of(head)], self.end, *pad)

    def end_code(self, head: int) -> int:
        """The output of head `head` that is `<eosp>`: the first one after the codes."""
        return len(self.codes[self.stream_of(head)])

    def pad_code(self, head: int) -> int:
        """The output that is the pad, in heads of the second and later frames."""
        return self.end_code(head) + 1

    def code_table(self) -> np.ndarray:
        """Ids int64 [stream, code], as many columns as the largest stream has codes; -1 beyond."""
        table = np.full((len(self.codes), max(map(len, self.codes))), -1, np.int64)
        for row, ids in zip(table, self.codes, strict=True):
            row[: len(ids)] = ids
        return table

    @property
    def never_written(self) -> tuple[int, ...]:
        """Ids that are not text: codes, `<eosp>`, pad and placeholder if there are any."""
        optional = (token for token in (self.pad, self.placeholder) if token is not None)
        return (*(token for stream in self.codes for token in stream), self.end, *optional)

    @property
    def largest(self) -> int:
        """The largest id, which the embedding table must have a row for."""
        optional = [token for token in (self.pad, self.placeholder) if token is not None]
        return max(self.bos, self.eos, self.start, self.end, *optional, *map(max, self.codes))


def read_speech_tokens(
    tokenizer: Tokenizer, where: str, streams: Streams = FACODEC
) -> SpeechTokens:
    """Look up the speech tokens. Raises `UserError` naming the first one that is missing."""

    def required(token: str) -> int:
        token_id = tokenizer.token_to_id(token)
        if token_id is None:
            raise UserError(
                f"{where}: its tokenizer has no {token!r}, so this is no speech model (train it "
                "with python -m train.lm first), or another model's tokenizer files lie here"
            )
        return token_id

    return SpeechTokens(
        bos=required(BOS),
        eos=required(EOS),
        start=required(SPEECH_START),
        end=required(SPEECH_END),
        pad=tokenizer.token_to_id(SPEECH_PAD),
        placeholder=tokenizer.token_to_id(SPEAKER_PLACEHOLDER),
        codes=tuple(
            tuple(required(f"<{name}{code}>") for code in range(size))
            for name, size in zip(streams.names, streams.sizes, strict=True)
        ),
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json`, or the slow tokenizer's files that the published code writes.

    Raises:
        UserError: a file is missing or damaged, or two of them disagree.
    """
    folder = Path(folder)
    if not (folder / TOKENIZER_FILE).is_file():
        return load_qwen2_files(folder)
    tokenizer = _parse_tokenizer(folder / TOKENIZER_FILE)
    for token, token_id in read_added_tokens(folder / ADDED_TOKENS_FILE):
        if tokenizer.token_to_id(token) != token_id:
            raise UserError(
                f"{folder}: {TOKENIZER_FILE} has {token!r} as {tokenizer.token_to_id(token)}, "
                f"{ADDED_TOKENS_FILE} as {token_id}: one of them is another model's; remove it"
            )
    return tokenizer


def _parse_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(read_text(path))
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{path}: not a tokenizer ({error})") from None


def add_speech_tokens(tokenizer: Tokenizer, *, mtp: bool, streams: Streams = FACODEC) -> None:
    """Append the tokens of an MTP or an NTP model in the published order.

    Tokens that the tokenizer already has keep their ids.
    """
    for token in (BOS, EOS):
        if tokenizer.token_to_id(token) is None:
            raise UserError(f"the base tokenizer has no {token!r}: it is not Qwen2's")
    add_tokens(tokenizer, mtp_tokens(streams) if mtp else ntp_tokens(streams))


def build_phoneme_tokenizer(
    texts: Iterable[str], *, mtp: bool, streams: Streams = FACODEC
) -> Tokenizer:
    """A tokenizer with one token per phoneme symbol of `texts`, and the speech tokens.

    Symbols are sorted, so the same texts give the same ids. Other symbols become `<unk>`.
    """
    split = pre_tokenizers.Split(Regex(_PHONEME_PATTERN), "isolated")
    symbols = {symbol for text in texts for symbol, _ in split.pre_tokenize_str(text)}
    vocabulary = {token: i for i, token in enumerate([UNKNOWN, *sorted(symbols)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    add_tokens(tokenizer, [EOS, BOS])
    add_speech_tokens(tokenizer, mtp=mtp, streams=streams)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, model_max_length: int) -> None:
    """Write `tokenizer.json` and the `tokenizer_config.json` that transformers reads."""
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": EOS,
        "padding_side": "right",
        "model_max_length": model_max_length,
        "clean_up_tokenization_spaces": False,
    }
    write_atomically(Path(folder) / TOKENIZER_FILE, tokenizer.to_str().encode())
    text = json.dumps(settings, indent=2) + "\n"
    write_atomically(Path(folder) / SETTINGS_FILE, text.encode())
