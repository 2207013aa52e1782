"""The prompts and the speech that a model is calibrated on.

In: a float32 bundle, and either texts or tokens. The model speaks texts with its own sampling.
Tokens are recorded speech in JSON lines, which the model is fed with. Out: `EmbeddedUtterance`s,
each with all embeddings that the backbone reads and all frames that the codec decodes. It does not
run the graphs that are measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from commands.errors import UserError
from export.language_model.code_embeddings import PAD, code_embeddings
from export.readers.checkpoint import Checkpoint
from formats.speaker_files import read_speaker
from formats.streams import Streams
from formats.tokens import TokenizedUtterance, read_utterances
from runtime.bundle.loading import Bundle
from runtime.bundle.names import BACKBONE, SPEAKER_PROJECTION
from runtime.engines.opening import open_engine
from runtime.engines.rows import Request
from runtime.speech.decoding import SpeechDecoder, bound_steps
from runtime.speech.prompt import PromptReader
from runtime.speech.sampling import seeded

Floats = npt.NDArray[np.float32]
MAX_TEXTS = 10_000
HELD_OUT = 4  # every fourth utterance is held out for judging


@dataclass(frozen=True)
class EmbeddedUtterance:
    """An utterance as a language model and a codec read it.

    embeddings: float32 (1, positions, H), a prompt of `prompt` positions, then one position for
    each step that was fed back. The last position of the prompt and every later one predict a step.
    frames: int64 (T, K), the speech. speaker: float32 (speaker_channels), the voice.
    """

    embeddings: Floats
    prompt: int
    frames: npt.NDArray[np.int64]
    speaker: Floats

    @property
    def steps(self) -> int:
        return self.embeddings.shape[1] - self.prompt + 1


class UtteranceMaker:
    """Makes utterances with a float32 bundle. Its voices take turns."""

    def __init__(self, bundle: Bundle, checkpoint: Checkpoint, threads: int) -> None:
        open_graph, _ = open_engine(bundle, "auto", threads)
        manifest = bundle.manifest
        aware = manifest.language_model.speaker_aware
        if aware and not manifest.voices:
            raise UserError("a speaker-aware model is calibrated with voices; give --voice")
        self._bundle, self._heads = bundle, checkpoint.config.heads
        self._reader = PromptReader(bundle, open_graph(SPEAKER_PROJECTION) if aware else None)
        self._decoder = SpeechDecoder(open_graph(BACKBONE), open_graph(manifest.head), manifest)
        self._table, self._streams = code_embeddings(checkpoint).read(), checkpoint.config.streams
        self._voices = [*manifest.voices]

    def say(self, texts: Sequence[str]) -> Iterator[EmbeddedUtterance]:
        """The model speaks every text, the n-th with seed n."""
        for number, text in enumerate(texts):
            speaker = self._voice(number)
            read = self._reader.read(text)
            prompt = self._reader.embed(read, speaker)
            frames = self._generate(prompt, read.text_tokens, number)
            yield self._joined(prompt, frames, speaker)

    def follow(self, tokens: Path) -> Iterator[EmbeddedUtterance]:
        """The model is fed with recorded frames, text by text."""
        for number, recorded in enumerate(read_utterances(tokens, self._heads, self._streams)):
            speaker = self._recorded_speaker(tokens.parent, recorded, number)
            read = self._reader.read(recorded.sentence or recorded.text)
            prompt = self._reader.embed(read, speaker)
            yield self._joined(prompt, recorded.frames, speaker)

    def _voice(self, number: int) -> Floats:
        channels = self._bundle.manifest.codec.speaker_channels
        if not self._voices:
            return np.zeros(channels, np.float32)  # not used: the model is not speaker-aware
        file = self._bundle.manifest.voices[self._voices[number % len(self._voices)]]
        return read_speaker(self._bundle.path(file), channels)

    def _recorded_speaker(self, folder: Path, recorded: TokenizedUtterance, number: int) -> Floats:
        if recorded.spk_emb_path is None:
            return self._voice(number)
        return read_speaker(
            folder / recorded.spk_emb_path, self._bundle.manifest.codec.speaker_channels
        )

    def _generate(self, prompt: Floats, text_tokens: int, seed: int) -> npt.NDArray[np.int64]:
        manifest = self._bundle.manifest
        sampling = seeded(manifest.sampling, seed)
        request = Request(
            prompt,
            sampling.resolve(manifest.sampling),
            sampling.random_generator(0),
            bound_steps(manifest, text_tokens, prompt.shape[1]),
        )
        steps = self._decoder.steps(request)
        return np.concatenate([step.frames for step in steps])

    def _joined(
        self, prompt: Floats, frames: npt.NDArray[np.int64], speaker: Floats
    ) -> EmbeddedUtterance:
        steps = step_embeddings(self._table, frames, self._heads, self._streams)
        embeddings = np.concatenate([prompt, steps[None]], axis=1)
        room = self._bundle.manifest.language_model.max_positions
        return EmbeddedUtterance(embeddings[:, :room], prompt.shape[1], frames, speaker)


def step_embeddings(
    table: Floats, frames: npt.NDArray[np.int64], heads: int, streams: Streams
) -> Floats:
    """The input that follows each step: (steps, H), the mean of the embeddings of its codes.

    table: as in `export.language_model.code_embeddings`. frames: int64 (T, K). The last step of a
    multi-token model is padded with `<|speech_pad|>`.
    """
    rows = (frames + np.array(streams.offsets)).reshape(-1)
    rows = np.pad(rows, (0, -len(rows) % heads), constant_values=streams.total + PAD)
    embeddings: Floats = table[rows.reshape(-1, heads)].mean(axis=1, dtype=np.float32)
    return embeddings


def read_texts(files: Sequence[Path]) -> list[str]:
    """Lines that are not empty and do not start with `#`. Raises `UserError` if there are none."""
    texts: list[str] = []
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: no such file; --texts takes text files, a sentence a line")
        lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        texts += [line for line in lines if line and not line.startswith("#")]
    if not texts or len(texts) > MAX_TEXTS:
        raise UserError(f"{files[0]}: {len(texts)} sentences; give 1 to {MAX_TEXTS}")
    return texts


def check_count(sentences: int) -> None:
    """Raises `UserError` if there are too few sentences to hold one out."""
    if sentences < HELD_OUT:
        raise UserError(f"{sentences} sentences are too few: give {HELD_OUT} or more")


def split_utterances(
    utterances: Sequence[EmbeddedUtterance],
) -> tuple[list[EmbeddedUtterance], list[EmbeddedUtterance]]:
    """Utterances to calibrate on, and held-out ones. Raises `UserError` if there are too few."""
    check_count(len(utterances))
    held_out = [*utterances[HELD_OUT - 1 :: HELD_OUT]]
    return [u for n, u in enumerate(utterances) if n % HELD_OUT != HELD_OUT - 1], held_out
