"""Qwen2's tokenizer from the files of the slow implementation, which the published code writes.

In: `vocab.json`, `merges.txt`, `added_tokens.json` or `tokenizer_config.json`. Out: byte-level BPE
as a `tokenizers.Tokenizer`. Each file is read strictly, because a speech model without its added
tokens would look like a text model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from commands.errors import UserError

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE, MERGES_FILE = "vocab.json", "merges.txt"
ADDED_TOKENS_FILE = "added_tokens.json"
SETTINGS_FILE = "tokenizer_config.json"

# Qwen2's pre-tokenizer. The files do not hold it.
_QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def load_qwen2_files(folder: Path) -> Tokenizer:
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
    for token, token_id in read_added_tokens(path) or _read_settings_tokens(folder):
        add_tokens(tokenizer, [token])
        if tokenizer.token_to_id(token) != token_id:
            raise UserError(f"{folder}: ids of its added tokens have a gap before {token!r}")
    return tokenizer


def _require_qwen2_files(folder: Path) -> None:
    """Raise `UserError` with the names of missing files."""
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


def read_text(path: Path) -> str:
    """UTF-8, with or without the byte-order mark that editors on Windows write."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); copy it again") from None


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        return {str(token): int(i) for token, i in json.loads(read_text(path)).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON object of token to id ({error})") from None


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Pairs of tokens, one a line, after a line with the version."""
    pairs = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2:
            raise UserError(f"{path}, line {number}: {line!r} is not two tokens; copy it again")
        pairs.append((parts[0], parts[1]))
    return pairs


def read_added_tokens(path: Path) -> list[tuple[str, int]]:
    """Tokens with ids, ordered by id; none if there is no file."""
    if not path.is_file():
        return []
    return sorted(_read_vocabulary(path).items(), key=lambda item: item[1])


def _read_settings_tokens(folder: Path) -> list[tuple[str, int]]:
    """The same tokens from `tokenizer_config.json`, where transformers also keeps them."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return []
    try:
        added = json.loads(read_text(path)).get("added_tokens_decoder", {})
        return sorted(((str(t["content"]), int(i)) for i, t in added.items()), key=lambda x: x[1])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: 'added_tokens_decoder' is unreadable ({error})") from None


def add_tokens(tokenizer: Tokenizer, tokens: Iterable[str]) -> None:
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
