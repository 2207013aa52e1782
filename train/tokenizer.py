"""The tokenizer of a checkpoint: loading, the speech tokens in it, and making new ones.

In: a checkpoint or base-model directory, or phoneme strings. Out: a `tokenizers.Tokenizer`,
the ids of the speech tokens (never assumed, always looked up), and the tokenizer files of a
new checkpoint. It knows nothing about models and needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from runtime.errors import UserError
from runtime.files import write_atomically
from train.prompts import (
    ASSISTANT,
    HUMAN,
    SPEAKER_PLACEHOLDER,
    SPEECH_END,
    SPEECH_PAD,
    SPEECH_START,
)

TOKENIZER_FILE = "tokenizer.json"
BOS = "<|im_start|>"
EOS = "<|endoftext|>"
UNKNOWN = "<unk>"
CODEBOOKS = ("a", "b", "c")  # content 1, content 2, prosody
CODEBOOK_SIZE = 1024

_CODES = [f"<{book}{code}>" for book in CODEBOOKS for code in range(CODEBOOK_SIZE)]
MTP_TOKENS = (
    *(HUMAN, ASSISTANT, SPEECH_START, SPEAKER_PLACEHOLDER),
    *_CODES,
    *(SPEECH_END, SPEECH_PAD),
)
NTP_TOKENS = (
    *_CODES,
    *(SPEECH_START, SPEECH_END, HUMAN, ASSISTANT, SPEAKER_PLACEHOLDER, "[ta]", "[ua]"),
)

# The pre-tokenizer of Qwen2, for checkpoints that hold only vocab.json and merges.txt.
_QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# A stress mark belongs to the phoneme after it: one symbol, one token.
_PHONEME_PATTERN = "[ˈˌ]*."


@dataclass(frozen=True)
class SpeechTokens:
    """Ids that the model needs, as the checkpoint's tokenizer gives them."""

    bos: int
    eos: int
    start: int
    end: int
    pad: int | None  # None in NTP models
    placeholder: int | None  # needed by speaker-aware models only
    codes: tuple[tuple[int, ...], ...]  # [codebook][code]

    def head_ids(self, head: int) -> tuple[int, ...]:
        """Ids behind the outputs of head `head` (a1 b1 c1 a2 …): codes, `<eosp>`, then the pad."""
        first_frame = head < len(CODEBOOKS)
        pad = () if first_frame or self.pad is None else (self.pad,)
        return (*self.codes[head % len(CODEBOOKS)], self.end, *pad)

    @property
    def never_written(self) -> tuple[int, ...]:
        """Ids that are no text: codes, `<eosp>`, and where they are, pad and placeholder."""
        optional = (token for token in (self.pad, self.placeholder) if token is not None)
        return (*(token for book in self.codes for token in book), self.end, *optional)

    @property
    def largest(self) -> int:
        """The largest id, which the embedding table must have a row for."""
        optional = [token for token in (self.pad, self.placeholder) if token is not None]
        return max(self.bos, self.eos, self.start, self.end, *optional, *map(max, self.codes))


def read_speech_tokens(tokenizer: Tokenizer, where: str) -> SpeechTokens:
    """Look the speech tokens up. Raises `UserError` naming the first that is missing."""

    def required(token: str) -> int:
        token_id = tokenizer.token_to_id(token)
        if token_id is None:
            raise UserError(
                f"{where}: its tokenizer has no {token!r}, so this is no speech model; "
                "train it with python -m train.lm first"
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
            tuple(required(f"<{book}{code}>") for code in range(CODEBOOK_SIZE))
            for book in CODEBOOKS
        ),
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json`, or the slow tokenizer's files that the published code writes."""
    path = Path(folder) / TOKENIZER_FILE
    if path.is_file():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"{path}: not a tokenizer ({error})") from None
    if (Path(folder) / "vocab.json").is_file() and (Path(folder) / "merges.txt").is_file():
        return _load_qwen2_files(Path(folder))
    raise UserError(f"{folder}: holds neither {TOKENIZER_FILE} nor vocab.json with merges.txt")


def _load_qwen2_files(folder: Path) -> Tokenizer:
    """Byte-level BPE from vocab.json and merges.txt, plus the tokens of added_tokens.json."""
    try:
        vocabulary, merges = models.BPE.read_file(
            str(folder / "vocab.json"), str(folder / "merges.txt")
        )
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{folder}: vocab.json or merges.txt is unreadable ({error})") from None
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for token, token_id in _read_added_tokens(folder / "added_tokens.json"):
        _add_tokens(tokenizer, [token])
        if tokenizer.token_to_id(token) != token_id:
            raise UserError(f"{folder}/added_tokens.json: ids have a gap before {token!r}")
    return tokenizer


def _read_added_tokens(path: Path) -> list[tuple[str, int]]:
    if not path.is_file():
        return []
    try:
        added = json.loads(path.read_text(encoding="utf-8"))
        return sorted(
            ((str(token), int(i)) for token, i in added.items()), key=lambda item: item[1]
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a JSON object of token to id ({error})") from None


def _add_tokens(tokenizer: Tokenizer, tokens: Iterable[str]) -> None:
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])


def add_speech_tokens(tokenizer: Tokenizer, *, mtp: bool) -> None:
    """Append the tokens of an MTP or an NTP model in the published order; known ones stay."""
    for token in (BOS, EOS):
        if tokenizer.token_to_id(token) is None:
            raise UserError(f"the base tokenizer has no {token!r}: it is not Qwen2's")
    _add_tokens(tokenizer, MTP_TOKENS if mtp else NTP_TOKENS)


def build_phoneme_tokenizer(texts: Iterable[str], *, mtp: bool) -> Tokenizer:
    """A tokenizer with one token per phoneme symbol of `texts`, and the speech tokens.

    Symbols are sorted, so the same texts give the same ids. Others become `<unk>`.
    """
    split = pre_tokenizers.Split(Regex(_PHONEME_PATTERN), "isolated")
    symbols = {symbol for text in texts for symbol, _ in split.pre_tokenize_str(text)}
    vocabulary = {token: i for i, token in enumerate([UNKNOWN, *sorted(symbols)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    _add_tokens(tokenizer, [EOS, BOS])
    add_speech_tokens(tokenizer, mtp=mtp)
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
    write_atomically(Path(folder) / "tokenizer_config.json", text.encode())
