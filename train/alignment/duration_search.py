"""Find the durations of symbols in many recordings, and keep them.

In: recordings with their texts, a method, the rate and hop of a codec. Out: durations in frames of
the codec by the recording's path. Recordings that cannot be aligned are reported. It does not know
the folder that is written in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from commands.errors import UserError
from commands.interruption import Interruption
from commands.progress import progress, tell
from formats.checkpoint.codec_config import CodecConfig
from formats.checkpoint.prompts import normalize_text
from runtime.audio.sound import read_recording
from runtime.text.frontends import make_frontend
from runtime.text.typed_text import has_words
from train.alignment.aligner import AlignableUtterance, Aligner, AlignerTraining, AlignmentFeatures
from train.alignment.paths import spread_evenly
from train.alignment.progress import AlignProgress, Durations
from train.data.recordings import Recording, explain_missing

MAX_SECONDS = 30.0
SILENCE, FIRST_CHARACTER = 1, 2  # symbol ids; 0 is padding
RECORDINGS_PER_CHUNK = 512


@dataclass(frozen=True)
class Script:
    """A recording and the characters spoken in it; each is a symbol."""

    recording: Recording
    characters: str

    @property
    def known_frames(self) -> tuple[int, ...] | None:
        """Durations of exactly these characters, if the metadata has them."""
        counted = self.recording.phonemes or self.recording.text
        return self.recording.symbol_frames if counted == self.characters else None


class ScriptReader:
    """Writes recordings' texts as symbols: phonemes, or spelling without regard to case."""

    def __init__(self, frontend: str, language: str) -> None:
        self._phonemize = make_frontend({"kind": frontend, "language": language})
        self._uses_phonemes = frontend != "none"
        self._ids: dict[str, int] = {}

    def read(self, recordings: Sequence[Recording]) -> list[Script]:
        """The scripts. Recordings without a usable text are reported and left out."""
        scripts = []
        for recording in recordings:
            try:
                scripts.append(Script(recording, self._characters(recording)))
            except UserError as error:
                tell(f"not aligned: {recording.path}: {error}")
        for script in scripts:
            for character in script.characters:
                self._ids.setdefault(self._fold(character), FIRST_CHARACTER + len(self._ids))
        return scripts

    @property
    def alphabet_size(self) -> int:
        return FIRST_CHARACTER + len(self._ids)

    def encode(self, characters: str) -> np.ndarray:
        """Ids int64 [N] of silence, each character, silence."""
        ids = [self._ids[self._fold(character)] for character in characters]
        return np.array([SILENCE, *ids, SILENCE], np.int64)

    def _fold(self, character: str) -> str:
        return character if self._uses_phonemes else character.lower()

    def _characters(self, recording: Recording) -> str:
        if not (recording.text or "").strip():
            raise UserError(recording.fault or "has no text")
        text = str(recording.text).strip()
        if self._uses_phonemes:
            characters = recording.phonemes or self._phonemize(text)
        else:
            characters = text
            if len(normalize_text(text)) != len(text):
                raise UserError("has letters whose capitals are of another length")
        if not has_words(characters):
            raise UserError(f"nothing to say is left of its text, {text[:40]!r}")
        return characters


@dataclass(frozen=True)
class SearchOptions:
    """How the aligner learns, and the codec whose frames it counts."""

    steps: int
    learn_from: int
    seed: int
    threads: int | None = None
    codec: CodecConfig = field(default_factory=CodecConfig)


class DurationSearch:
    """Finds durations. With `kept`, results are kept on disk, and a later search goes on from them.

    `command` is the command line that goes on.
    """

    def __init__(
        self,
        reader: ScriptReader,
        options: SearchOptions,
        interruption: Interruption,
        kept: AlignProgress | None = None,
        command: str = "",
    ) -> None:
        self._reader, self._options = reader, options
        self._kept, self._command = kept, command
        self._interruption = interruption

    def find(self, scripts: Sequence[Script], method: str) -> Durations:
        """Durations of those scripts that can be aligned. Raises `UserError` if none can."""
        if not scripts:
            return {}
        model = self._learn(scripts) if method == "learned" else None
        durations: Durations = {}
        with self._interruption, progress("align", len(scripts), to_stderr=True) as stage:
            for first in range(0, len(scripts), RECORDINGS_PER_CHUNK):
                chunk = scripts[first : first + RECORDINGS_PER_CHUNK]
                durations |= self._find_in_chunk(first, chunk, model)
                stage.advance(len(chunk))
                if self._interruption.requested:
                    break
        self._leave_if_interrupted()
        return durations

    def _find_in_chunk(
        self, first: int, scripts: Sequence[Script], model: Aligner | None
    ) -> Durations:
        if self._kept and (found_before := self._kept.load_durations(first)) is not None:
            return found_before
        paths, utterances = read_utterances(scripts, self._reader, self._options.codec)
        if model is None:
            found = [spread_evenly(len(u.log_mel), len(u.symbols), u.speech) for u in utterances]
        else:
            found = model.align(utterances)
        durations = {
            path: tuple(counts.tolist()) for path, counts in zip(paths, found, strict=True)
        }
        if self._kept:
            self._kept.save_durations(first, durations)
        return durations

    def _learn(self, scripts: Sequence[Script]) -> Aligner:
        """Train on a random choice of recordings, which are held in memory."""
        options = self._options
        if options.threads:
            torch.set_num_threads(options.threads)
        training = AlignerTraining(self._reader.alphabet_size, options.steps, options.seed)
        if self._kept and (state := self._kept.load_aligner()) is not None:
            training.load_state(state)
        if training.finished:
            return training.model.eval()
        rng = np.random.default_rng(options.seed)
        chosen = rng.permutation(len(scripts))[: options.learn_from]
        examples = [scripts[index] for index in chosen]
        _, utterances = read_utterances(examples, self._reader, options.codec, quiet=True)
        if not utterances:
            raise UserError("no recording can be aligned")
        with self._interruption:
            model = training.run(utterances, lambda: self._interruption.requested)
            if self._kept:
                self._kept.save_aligner(training.state())
        self._leave_if_interrupted()
        return model

    def _leave_if_interrupted(self) -> None:
        if not self._interruption.noted:
            return
        if self._kept is None:
            self._interruption.leave("a comparison keeps nothing")
        folder = self._kept.folder
        self._interruption.leave(f"{folder} keeps what is done; go on with: {self._command}")


def read_utterances(
    scripts: Sequence[Script], reader: ScriptReader, codec: CodecConfig, *, quiet: bool = False
) -> tuple[list[Path], list[AlignableUtterance]]:
    """Paths and features of those that can be aligned; the others are reported, unless `quiet`."""
    features, rate_hz = AlignmentFeatures(codec), codec.sample_rate_hz
    paths, utterances = [], []
    for script in scripts:
        path, symbols = script.recording.path, reader.encode(script.characters)
        try:
            if missing := explain_missing(path):
                raise UserError(missing)
            audio = read_recording(path, MAX_SECONDS, rate_hz=rate_hz)
            utterances.append(features(audio, symbols, str(path)))
            paths.append(path)
        except (UserError, OSError) as error:
            if not quiet:
                tell(f"not aligned: {error}")
    return paths, utterances
