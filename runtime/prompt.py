"""Prompts: text becomes token ids, token ids become the embeddings that the backbone reads.

In: a bundle (templates, tokenizer, embedding table) and one sentence, or one question. Out:
float32 embeddings [1, positions, hidden_size]. The embedding table stays on disk: only the rows of
the prompt's tokens are read. It does not know sampling, frames or audio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from runtime import bundle as names
from runtime.bundle import Bundle, ChatSpec
from runtime.decoding import frames_per_step
from runtime.errors import UserError
from runtime.sessions.graph import Graph
from runtime.text import make_frontend

MAX_SENTENCE_CHARACTERS = 2_000
MAX_EXPECTED_FRAMES = 2_400  # 30 s: longer utterances than that are rare in training data
EXPECTED_SHARE = (
    0.25  # of the manifest's bound on frames a token, which leaves room for slow speech
)


@dataclass(frozen=True)
class Prompt:
    """embeddings: float32 [1, positions, hidden_size]; text_tokens: tokens of the text alone."""

    embeddings: NDArray[np.float32]
    text_tokens: int


class PromptReader:
    """Everything between a sentence and the backbone's first input."""

    def __init__(self, bundle: Bundle, speaker_projection: Graph | None) -> None:
        self._manifest = bundle.manifest
        self._where = bundle.folder / names.MANIFEST_FILE
        self._spec = bundle.manifest.prompt
        self._frontend = make_frontend(self._spec.text_frontend)
        self._tokenizer = _load_tokenizer(bundle)
        self._table = _map_embeddings(bundle)
        self._check_rows()
        self._speaker_projection = speaker_projection
        self._check_templates()

    def embed(self, sentence: str, speaker: NDArray[np.float32]) -> Prompt:
        """The prompt for one sentence, spoken by `speaker` (float32 [speaker_channels])."""
        text = self._read(sentence)
        embeddings = self._embed_ids(self._prompt_ids(text), speaker)
        return Prompt(embeddings, text_tokens=len(self._tokenize(text)))

    def ask(self, question: str, chat: ChatSpec, speaker: NDArray[np.float32]) -> Prompt:
        """The prompt for a question, up to where the model begins to write its answer."""
        prompt = chat.template.replace("{question}", question)
        embeddings = self._embed_ids([self._spec.bos_id, *self._tokenize(prompt)], speaker)
        return Prompt(embeddings, text_tokens=len(self._tokenize(question)))

    def embed_token(self, token: int) -> NDArray[np.float32]:
        """float32 [1, 1, hidden_size]. Raises `UserError` for a token without a row."""
        if token >= len(self._table):
            raise UserError(
                f"{self._manifest.embeddings}: has {len(self._table)} rows, but the model wrote "
                f"the token {token}; export again"
            )
        return self._table[token].astype(np.float32)[None, None]

    def spell(self, tokens: list[int]) -> str:
        """The text of tokens that a model wrote."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=False)
        return text

    def fits(self, sentence: str) -> bool:
        """Whether a sentence, spoken at an ordinary pace, stays within one utterance.

        Raises:
            UserError: the sentence has no sound, or holds the speaker's placeholder itself.
        """
        if len(sentence) > MAX_SENTENCE_CHARACTERS:
            return False
        text = self._read(sentence)
        ids = self._prompt_ids(text)
        if self._speaker_projection is not None:
            self._placeholder(ids)
        model, length = self._manifest.language_model, self._manifest.length
        expected = length.frames_per_token * EXPECTED_SHARE * len(self._tokenize(text))
        steps = expected / frames_per_step(model)
        return expected <= MAX_EXPECTED_FRAMES and steps <= model.max_positions - len(ids)

    def _embed_ids(self, ids: list[int], speaker: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, P, H); the speaker stands at its placeholder."""
        embeddings = self._table[ids].astype(np.float32)[None]
        if self._speaker_projection is not None:
            outputs = self._speaker_projection.run({names.SPEAKER: speaker[None]})
            embeddings[0, self._placeholder(ids)] = outputs[names.SPEAKER_TOKEN][0, 0]
        return embeddings

    def _read(self, sentence: str) -> str:
        text = self._frontend(sentence)
        if not text:
            raise UserError(f"{sentence[:40]!r} has nothing that can be spoken; change the text")
        return text

    def _prompt_ids(self, text: str) -> list[int]:
        prompt = self._spec.template.replace("{text}", text)
        return [self._spec.bos_id, *self._tokenize(prompt)]

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

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
        spoken = self._prompt_ids("")
        templates = {"prompt.template": spoken}
        if chat is not None:
            asked = chat.template.replace("{question}", "")
            templates["chat.template"] = self._tokenize(asked)
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


def _load_tokenizer(bundle: Bundle) -> Tokenizer:
    path = bundle.path(bundle.manifest.tokenizer)
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
