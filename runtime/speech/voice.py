"""Voices: a name, a file or an array becomes a speaker embedding.

In: what a user writes after `--voice`, and a bundle. Out: float32 [speaker_channels]. It does not
know how recordings are encoded: the caller gives it a function that does.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from commands.errors import UserError
from runtime.audio.conditioning import condition_speech
from runtime.audio.sound import read_sound
from runtime.bundle.loading import Bundle
from runtime.bundle.names import VOICE_TENSOR
from runtime.speech.codec import check_speaker

MAX_VOICE_BYTES = 1024 * 1024

Voice = str | Path | NDArray[Any] | None
# Audio at the codec's rate -> speaker
EncodeSpeaker = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def resolve_voice(voice: Voice, bundle: Bundle, encode: EncodeSpeaker) -> NDArray[np.float32]:
    """The speaker embedding for `voice`, float32 [speaker_channels].

    voice: None (the bundle's default), the name of one of its voices, a .safetensors file with
        the tensor "speaker", any other file (a recording, whose speech `encode` turns into an
        embedding), or an array.

    Raises:
        UserError: an unknown name, a file that is missing or unfit, an array of another shape.
    """
    channels = bundle.manifest.codec.speaker_channels
    if isinstance(voice, np.ndarray):
        return check_speaker(voice, channels)
    if voice is None:
        voice = _default_voice(bundle)
    if isinstance(voice, str) and voice in bundle.manifest.voices:
        return read_voice_file(bundle.path(bundle.manifest.voices[voice]), channels)
    path = Path(voice)
    if not path.is_file():
        raise UserError(
            f"no voice {voice}: neither a file nor one of {_voice_names(bundle)}"
            f"{_suggestion(str(voice), bundle)}"
        )
    if path.suffix == ".safetensors":
        return read_voice_file(path, channels)
    speech = condition_speech(read_sound(path), bundle.manifest.codec.sample_rate_hz)
    return check_speaker(encode(speech), channels)


def read_voice_file(path: Path, channels: int) -> NDArray[np.float32]:
    """The tensor "speaker" of a safetensors file, float32 [channels].

    Raises:
        UserError: another kind of file, too large, without that tensor, or of another shape.
    """
    if path.stat().st_size > MAX_VOICE_BYTES:
        raise UserError(f"{path}: larger than {MAX_VOICE_BYTES} bytes, so it is no voice")
    try:
        with safe_open(path, framework="numpy") as file:
            speaker = file.get_tensor(VOICE_TENSOR)
    except SafetensorError as error:
        raise UserError(
            f"{path}: no voice file ({error}); a voice is a safetensors file with the tensor "
            f'"{VOICE_TENSOR}"'
        ) from None
    return check_speaker(speaker, channels)


def _default_voice(bundle: Bundle) -> str:
    default = bundle.manifest.default_voice
    if default is None:
        raise UserError(
            f"{bundle.folder}: has no default voice; name one with --voice "
            f"({_voice_names(bundle)}, or a file), or export with --voice NAME=FILE"
        )
    return default


def _suggestion(voice: str, bundle: Bundle) -> str:
    """Suggests the voice that was probably meant, or says nothing."""
    names = {name.casefold(): name for name in bundle.manifest.voices}
    alike = get_close_matches(voice.casefold(), names, n=1)
    return f"; did you mean {names[alike[0]]}?" if alike else ""


def _voice_names(bundle: Bundle) -> str:
    return ", ".join(sorted(bundle.manifest.voices)) or "the bundle's voices (it has none)"
