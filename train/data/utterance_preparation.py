"""From recordings to utterances that a model can learn, with codec and frontend.

In: recordings. Out: a `Part` (train/data/token_parts.py) with an utterance for each recording, or
why there is none. It does not know where parts are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commands.errors import UserError
from train.data.recordings import Recording, explain_missing
from train.data.token_parts import LeftOut, Part, PreparedUtterance

if TYPE_CHECKING:
    from runtime.text.frontends import Frontend
    from train.codec_model.facodec import FACodec
    from train.data.tokenization import Limits, TokenizedRecording


@dataclass(frozen=True)
class Means:
    """The codec, limits and frontend for tokenizing."""

    codec: FACodec
    limits: Limits
    frontend: Frontend
    use_phonemes: bool


def tokenize_part(
    codec: FACodec, recordings: Sequence[Recording], means: Means, stop: Callable[[], bool]
) -> Part:
    """The part of `recordings`, or of those that are done when `stop` returns true."""
    from train.data.tokenization import tokenize_recordings

    left_out: list[LeftOut] = []

    def leave_out(recording: Recording, why: str) -> None:
        left_out.append(explain(recording, why))

    usable = []
    for recording in recordings:
        if fault := find_fault(recording):
            leave_out(recording, fault)
        else:
            usable.append(recording)
    utterances = []
    for found in tokenize_recordings(codec, usable, means.limits, leave_out, stop):
        try:
            utterances.append(describe_utterance(found, means.frontend, means.use_phonemes))
        except UserError as error:
            leave_out(found.recording, str(error))
    return Part(utterances, left_out)


def find_fault(recording: Recording) -> str | None:
    """Why a recording cannot be used, as far as this shows without reading its audio."""
    if recording.fault is not None or (recording.text or "").strip():
        return recording.fault or explain_missing(recording.path)
    return "has no text"


def explain(recording: Recording, why: str) -> LeftOut:
    """Why the recording is left out, with its file if the reason does not name it."""
    where = str(recording.path)
    return LeftOut(recording.uttid, why if where in why else f"{where}: {why}")


def describe_utterance(
    found: TokenizedRecording, frontend: Frontend, use_phonemes: bool
) -> PreparedUtterance:
    """The utterance of a recording.

    Phonemes come from the metadata if it has them, otherwise from the frontend; without a frontend
    the text is the spelling. Durations belong to the phonemes, or else to the spelling.

    Raises:
        UserError: nothing that can be said is left of the text.
    """
    from runtime.text.typed_text import has_words

    recording = found.recording
    assert recording.text is not None, "recordings without text are left out before"
    phonemes = recording.phonemes
    aligned = use_phonemes == bool(phonemes)
    text = phonemes if use_phonemes and phonemes else frontend(recording.text)
    if not has_words(text):
        raise UserError(f"nothing to say is left of its text, {recording.text[:40]!r}")
    return PreparedUtterance(
        uttid=recording.uttid,
        text=text,
        sentence=recording.text if use_phonemes else None,
        speaker=recording.speaker,
        symbol_frames=found.symbol_frames if aligned else None,
        frames=found.frames,
        embedding=found.speaker,
    )
