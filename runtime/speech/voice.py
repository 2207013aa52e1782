"""Voices: a name, a file or an array becomes a speaker embedding.

In: the value of `--voice`, and a bundle. Out: float32 [speaker_channels]. It does not know how
recordings are encoded: the caller passes a function for it.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from formats.speaker_files import SUFFIX, read_speaker
from runtime.bundle.loading import Bundle
from runtime.speech.codec import check_speaker

Voice = str | Path | NDArray[Any] | None
# Audio at the codec's rate -> speaker
EncodeSpeaker = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def resolve_voice(voice: Voice, bundle: Bundle, encode: EncodeSpeaker) -> NDArray[np.float32]:
    """The speaker embedding for `voice`, float32 [speaker_channels].

    voice: None (the bundle's default), the name of one of its voices, a .safetensors file
        (`formats.speaker_files`), any other file (a recording, whose speech `encode` turns into an
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
        return read_speaker(bundle.path(bundle.manifest.voices[voice]), channels)
    path = Path(voice)
    if not path.is_file():
        raise UserError(
            f"no voice {voice}: neither a file nor one of {_voice_names(bundle)}"
            f"{_suggestion(str(voice), bundle)}"
        )
    if path.suffix == SUFFIX:
        return read_speaker(path, channels)
    from runtime.audio.conditioning import condition_speech  # recordings are rare
    from runtime.audio.sound import read_sound

    speech = condition_speech(read_sound(path), bundle.manifest.codec.sample_rate_hz)
    return check_speaker(encode(speech), channels)


def _default_voice(bundle: Bundle) -> str:
    default = bundle.manifest.default_voice
    if default is None:
        raise UserError(
            f"{bundle.folder}: has no default voice; name one with --voice "
            f"({_voice_names(bundle)}, or a file), or export with --voice NAME=FILE"
        )
    return default


def _suggestion(voice: str, bundle: Bundle) -> str:
    """Names the voice that was probably meant; empty if none is alike."""
    names = {name.casefold(): name for name in bundle.manifest.voices}
    alike = get_close_matches(voice.casefold(), names, n=1)
    return f"; did you mean {names[alike[0]]}?" if alike else ""


def _voice_names(bundle: Bundle) -> str:
    return ", ".join(sorted(bundle.manifest.voices)) or "the bundle's voices (it has none)"
