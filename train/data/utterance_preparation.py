"""From recordings to utterances that a model can learn from, with a codec and a text frontend.

In: recordings. Out: a `Part` (train/data/token_parts.py) that holds an utterance for each
recording, or the reason why it was left out. train/data/tokenization.py makes the frames. This
module does not know where parts are kept.
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
class PreparationTools:
    """What turns a recording into an utterance. `use_phonemes`: the text becomes phonemes."""

    codec: FACodec
    limits: Limits
    frontend: Frontend
    use_phonemes: bool


def tokenize_part(
    recordings: Sequence[Recording], tools: PreparationTools, stop: Callable[[], bool]
) -> Part:
    """The part of `recordings`. If `stop` returns true, it holds those that are done by then."""
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
    for found in tokenize_recordings(tools.codec, usable, tools.limits, leave_out, stop):
        try:
            utterances.append(describe_utterance(found, tools.frontend, tools.use_phonemes))
        except UserError as error:
            leave_out(found.recording, str(error))
    return Part(utterances, left_out)


def find_fault(recording: Recording) -> str | None:
    """Why a recording cannot be used, or None. Its audio is not read."""
    if recording.fault is not None or (recording.text or "").strip():
        return recording.fault or explain_missing(recording.path)
    return "has no text"


def explain(recording: Recording, why: str) -> LeftOut:
    """The reason why a recording is left out. It begins with the file, unless it names it."""
    where = str(recording.path)
    return LeftOut(recording.uttid, why if where in why else f"{where}: {why}")


def describe_utterance(
    found: TokenizedRecording, frontend: Frontend, use_phonemes: bool
) -> PreparedUtterance:
    """The utterance of a recording.

    With `use_phonemes`, the text is the metadata's phonemes or, if it has none, what the frontend
    writes. Otherwise it is the spelling. Durations are kept only if they count the same characters.

    Raises:
        UserError: the frontend leaves nothing to say of the text.
    """
    from runtime.text.typed_text import has_words

    recording = found.recording
    assert recording.text is not None, "recordings without text have been left out"
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
