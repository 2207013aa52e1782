"""Prompts: text becomes token ids, token ids become the embeddings that the backbone reads.

In: a bundle (templates, tokenizer, embedding table) and one sentence, or one question. Out: a
sentence as the model reads it, and float32 embeddings [1, positions, hidden_size]. The embedding
table stays on disk: only the rows of the prompt's tokens are read. It does not know sampling or
audio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from formats.streams import LETTERS
from runtime.bundle import names
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import ChatSpec
from runtime.engines.graph import Graph
from runtime.text.frontends import HIBARI, HIBARI_SCRIPT, Reading, make_reader
from runtime.text.phoneme_tokenizer import PhonemeTokenizer, TextTokenizer
from runtime.text.signs import fit_phonemes, join_parts, soften_stops
from runtime.text.symbols import HeldSymbols

MAX_SENTENCE_CHARACTERS = 2_000
MAX_EXPECTED_SECONDS = 30.0  # longer utterances are rare in training data
# The share of the manifest's frames per token that speech takes at an ordinary pace.
EXPECTED_SHARE = 0.25

_SPEECH_TOKEN = re.compile(rf"<[{LETTERS}]\d+>|<eosp>|<\|speech_pad\|>|<\|placeholder\|>")


@dataclass(frozen=True)
class ReadSentence:
    """A sentence, and what the model reads of it.

    source: as it was written. ids: of the whole prompt, empty where nothing can be read.
    text_tokens: how many of them are the text's. skipped: words that have no reading. missing:
    symbols of the reading that the tokenizer lacks.
    """

    source: str
    ids: tuple[int, ...]
    text_tokens: int
    skipped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class PromptReader:
    """Everything between a sentence and the backbone's first input."""

    def __init__(self, bundle: Bundle, speaker_projection: Graph | None) -> None:
        self._manifest = bundle.manifest
        self._where = bundle.folder / names.MANIFEST_FILE
        self._spec = bundle.manifest.prompt
        self._read_text = make_reader(self._spec.text_frontend)
        self._reads_phonemes = self._spec.text_frontend.get("kind") == HIBARI
        self._tokenizer = _load_tokenizer(bundle)
        self._symbols = HeldSymbols(self._tokenizer)
        self._table = _map_embeddings(bundle)
        self._check_rows()
        self._speaker_projection = speaker_projection
        self._check_templates()

    @property
    def letters(self) -> str:
        """Describes for people which letters can be read."""
        return HIBARI_SCRIPT if self._reads_phonemes else "the letters that it was trained on"

    def read(self, sentence: str) -> ReadSentence:
        """The sentence through the frontend and the tokenizer.

        Raises:
            UserError: the frontend fails, or the sentence holds the speaker's placeholder itself.
        """
        reading, missing = self._write(sentence)
        if not reading.text:
            return ReadSentence(sentence, (), 0, reading.skipped or (sentence.strip(),))
        ids, tokens = self._fill_in(self._spec.template, "{text}", reading.text)
        if self._speaker_projection is not None:
            self._placeholder(ids)
        return ReadSentence(sentence, tuple(ids), tokens, reading.skipped, missing)

    def read_to_fit(self, sentence: str) -> ReadSentence | None:
        """As `read`. None if the sentence is too long for one utterance at an ordinary pace."""
        if len(sentence) > MAX_SENTENCE_CHARACTERS:
            return None
        read = self.read(sentence)
        manifest = self._manifest
        frames = manifest.length.frames_per_token * EXPECTED_SHARE * read.text_tokens
        seconds = frames / manifest.codec.frames_per_second
        steps = frames / manifest.frames_per_step
        room = manifest.language_model.max_positions - len(read.ids)
        return read if seconds <= MAX_EXPECTED_SECONDS and steps <= room else None

    def embed(self, read: ReadSentence, speaker: NDArray[np.float32]) -> NDArray[np.float32]:
        """The prompt of one sentence, spoken by `speaker` (float32 [speaker_channels]).

        Returns float32 [1, positions, hidden_size].

        Raises:
            UserError: there is nothing to read in it.
        """
        if not read.ids:
            raise UserError(f"nothing in {read.source[:40]!r} can be read; change the text")
        return self._embed_ids([*read.ids], speaker)

    def find_missing(self, text: str) -> tuple[str, ...]:
        """The characters of a text without a frontend that the tokenizer lacks."""
        return self._symbols.find_missing(text)

    def embed_question(
        self, question: str, chat: ChatSpec, speaker: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The prompt for a question, up to where the model begins to write its answer.

        Returns float32 [1, positions, hidden_size].
        """
        ids, _ = self._fill_in(chat.template, "{question}", question)
        return self._embed_ids(ids, speaker)

    def embed_token(self, token: int) -> NDArray[np.float32]:
        """float32 [1, 1, hidden_size]. Raises `UserError` for a token without a row."""
        if token >= len(self._table):
            raise UserError(
                f"{self._manifest.embeddings}: has {len(self._table)} rows, but the model wrote "
                f"the token {token}; export again"
            )
        return self._table[token].astype(np.float32)[None, None]

    def find_speech_tokens(self) -> frozenset[int]:
        """Ids of the tokens that are not text: codes, and the special tokens of speech."""
        vocabulary = self._tokenizer.get_vocab()
        return frozenset(i for token, i in vocabulary.items() if _SPEECH_TOKEN.fullmatch(token))

    def spell(self, tokens: list[int]) -> str:
        """The text of tokens that a model wrote."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def _embed_ids(self, ids: list[int], speaker: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, P, H), with the speaker's embedding at the placeholder."""
        embeddings = self._table[ids].astype(np.float32)[None]
        if self._speaker_projection is not None:
            outputs = self._speaker_projection.run({names.SPEAKER: speaker[None]})
            embeddings[0, self._placeholder(ids)] = outputs[names.SPEAKER_TOKEN][0, 0]
        return embeddings

    def _write(self, sentence: str) -> tuple[Reading, tuple[str, ...]]:
        """The string that the model reads, and the symbols that it lacks.

        Phonemes are written in symbols that it has. Spelling stays as it is, byte for byte, as
        long as there is a letter to read.
        """
        reading = self._read_text(sentence)
        if self._reads_phonemes:
            parts = fit_phonemes(soften_stops(reading.text), self._symbols.holds)
            lost = tuple(dict.fromkeys(part.source for part in parts if part.is_lost))
            return Reading(join_parts(parts), reading.skipped), lost
        missing = self._symbols.find_missing(reading.text)
        is_readable = any(c.isalnum() and c not in missing for c in reading.text)
        return (reading if is_readable else Reading("")), missing

    def _fill_in(self, template: str, field: str, text: str) -> tuple[list[int], int]:
        """Ids of a template with the text in it, and how many of them hold some of the text."""
        begin = template.index(field) if field in template else len(template)
        end = begin + len(text)
        encoded = self._tokenizer.encode(template.replace(field, text), add_special_tokens=False)
        inside = sum(first < end and last > begin for first, last in encoded.offsets)
        return [self._spec.bos_id, *encoded.ids], inside

    def _check_rows(self) -> None:
        """Every id that a prompt can hold must have a row in the table."""
        last_id = self._tokenizer.get_vocab_size() - 1
        if last_id >= len(self._table):
            raise UserError(
                f"{self._manifest.embeddings}: has {len(self._table)} rows, but the tokenizer has "
                f"ids up to {last_id}; export again"
            )
        if self._spec.bos_id >= len(self._table):
            raise self._unfit(f"prompt.bos_id is not one of {len(self._table)} tokens")

    def _check_templates(self) -> None:
        """Templates must lead to speech, with one place for the speaker where there is one."""
        prompt, chat = self._spec, self._manifest.chat
        spoken, _ = self._fill_in(prompt.template, "{text}", "")
        templates = {"prompt.template": spoken}
        if chat is not None:
            templates["chat.template"], _ = self._fill_in(chat.template, "{question}", "")
            for name in ("speech_start_id", "text_end_id"):
                if getattr(chat, name) >= len(self._table):
                    raise self._unfit(f"chat.{name} is not one of {len(self._table)} tokens")
            if spoken[-1] != chat.speech_start_id:
                raise self._unfit("prompt.template does not end in the token chat.speech_start_id")
        for name, ids in templates.items():
            if self._speaker_projection is not None and ids.count(prompt.placeholder_id or 0) != 1:
                raise self._unfit(f"{name} does not hold the token prompt.placeholder_id once")

    def _unfit(self, what: str) -> UserError:
        return UserError(f"{self._where}: {what}; export again")

    def _placeholder(self, ids: list[int]) -> int:
        """The one position that the speaker's embedding takes."""
        places = [at for at, token in enumerate(ids) if token == self._spec.placeholder_id]
        if len(places) != 1:
            raise UserError(
                f"the prompt has {len(places)} speaker placeholders instead of 1; "
                "remove <|placeholder|> from the text"
            )
        return places[0]


def _load_tokenizer(bundle: Bundle) -> TextTokenizer:
    path = bundle.path(bundle.manifest.tokenizer)
    if phonemes := PhonemeTokenizer.from_file(path):
        return phonemes
    from tokenizers import Tokenizer  # 12 MB that a voice that reads phonemes does without

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower type
        raise UserError(f"{path}: not a tokenizer ({error}); export again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _map_embeddings(bundle: Bundle) -> NDArray[np.floating]:
    path = bundle.path(bundle.manifest.embeddings)
    try:
        table: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):  # the library's advice is to load pickles
        raise UserError(f"{path}: not an embedding table in NumPy's format; export again") from None
    hidden = bundle.manifest.language_model.hidden_size
    if not isinstance(table, np.ndarray):
        raise UserError(f"{path}: holds several arrays instead of one table; export again")
    if table.ndim != 2 or table.shape[1] != hidden or table.dtype not in (np.float32, np.float16):
        raise UserError(
            f"{path}: is {table.dtype} {list(table.shape)} instead of floats "
            f"[vocabulary, {hidden}]; export again"
        )
    return table
