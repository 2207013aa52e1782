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

from commands.errors import UserError
from formats.checkpoint.prompts import (
    ASSISTANT,
    HUMAN,
    SPEAKER_PLACEHOLDER,
    SPEECH_END,
    SPEECH_PAD,
    SPEECH_START,
)
from formats.files.atomic import write_atomically

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE, MERGES_FILE = "vocab.json", "merges.txt"
ADDED_TOKENS_FILE = "added_tokens.json"
SETTINGS_FILE = "tokenizer_config.json"
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
            tuple(required(f"<{book}{code}>") for code in range(CODEBOOK_SIZE))
            for book in CODEBOOKS
        ),
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read `tokenizer.json`, or the slow tokenizer's files that the published code writes.

    Raises:
        UserError: a file is missing or damaged, or two of them disagree.
    """
    folder = Path(folder)
    if not (folder / TOKENIZER_FILE).is_file():
        return _load_qwen2_files(folder)
    tokenizer = _parse_tokenizer(folder / TOKENIZER_FILE)
    for token, token_id in _read_added_tokens(folder / ADDED_TOKENS_FILE):
        if tokenizer.token_to_id(token) != token_id:
            raise UserError(
                f"{folder}: {TOKENIZER_FILE} has {token!r} as {tokenizer.token_to_id(token)}, "
                f"{ADDED_TOKENS_FILE} as {token_id}: one of them is another model's; remove it"
            )
    return tokenizer


def _parse_tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_str(_read_text(path))
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{path}: not a tokenizer ({error})") from None


def _load_qwen2_files(folder: Path) -> Tokenizer:
    """Byte-level BPE from vocab.json and merges.txt, plus the added tokens."""
    _require_qwen2_files(folder)
    vocabulary, merges = _read_vocabulary(folder / VOCABULARY_FILE), folder / MERGES_FILE
    try:
        tokenizer = Tokenizer(models.BPE(vocabulary, _read_merges(merges)))
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"{merges}: does not fit {VOCABULARY_FILE} ({error})") from None
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    path = folder / ADDED_TOKENS_FILE
    for token, token_id in _read_added_tokens(path) or _read_settings_tokens(folder):
        _add_tokens(tokenizer, [token])
        if tokenizer.token_to_id(token) != token_id:
            raise UserError(f"{folder}: ids of its added tokens have a gap before {token!r}")
    return tokenizer


def _require_qwen2_files(folder: Path) -> None:
    """Name what is missing: without its added tokens, a speech model looks like none."""
    found = {name: (folder / name).is_file() for name in (VOCABULARY_FILE, MERGES_FILE)}
    if not any(found.values()):
        raise UserError(
            f"{folder}: holds neither {TOKENIZER_FILE} nor {VOCABULARY_FILE} with {MERGES_FILE} "
            f"and {ADDED_TOKENS_FILE}"
        )
    missing = [name for name, is_there in found.items() if not is_there]
    if not (folder / ADDED_TOKENS_FILE).is_file() and not _read_settings_tokens(folder):
        missing.append(ADDED_TOKENS_FILE)
    if missing:
        raise UserError(
            f"{folder}: its tokenizer has no {' and no '.join(missing)}; copy all files that "
            "training saved"
        )


def _read_text(path: Path) -> str:
    """UTF-8, with or without the mark (BOM) that Windows' editors put in front."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); copy it again") from None


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        return {str(token): int(i) for token, i in json.loads(_read_text(path)).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON object of token to id ({error})") from None


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Pairs of tokens, one a line, after a line that tells the version."""
    pairs = []
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2:
            raise UserError(f"{path}, line {number}: {line!r} is not two tokens; copy it again")
        pairs.append((parts[0], parts[1]))
    return pairs


def _read_added_tokens(path: Path) -> list[tuple[str, int]]:
    """Tokens with ids, in the ids' order; none without the file."""
    if not path.is_file():
        return []
    return sorted(_read_vocabulary(path).items(), key=lambda item: item[1])


def _read_settings_tokens(folder: Path) -> list[tuple[str, int]]:
    """The same from `tokenizer_config.json`, where transformers keeps them, too."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return []
    try:
        added = json.loads(_read_text(path)).get("added_tokens_decoder", {})
        return sorted(((str(t["content"]), int(i)) for i, t in added.items()), key=lambda x: x[1])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: 'added_tokens_decoder' is unreadable ({error})") from None


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
    write_atomically(Path(folder) / SETTINGS_FILE, text.encode())
