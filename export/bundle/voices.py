"""Voices that go into a bundle.

In: NAME=FILE from the command line, where FILE is a recording or a speaker file
(`formats.speaker_files`). Out: speaker embeddings float32 [channels] as files of the bundle. The
bundle's codec encoder encodes recordings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commands.errors import UserError
from export.graph.runner import GraphRunner
from formats.checkpoint.codec_config import CodecConfig
from formats.speaker_files import SUFFIX, read_speaker, write_speaker
from formats.weights import Array
from runtime.audio.conditioning import condition_speech
from runtime.audio.sound import read_sound
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import AUDIO, SPEAKER

VOICE_FOLDER = "voices"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class VoiceSource:
    """A voice before it is encoded.

    values: a speaker embedding [channels], or speech [samples] that `runtime.audio.conditioning`
    has made from a recording.
    """

    name: str
    file: Path
    values: Array
    is_recording: bool


def parse_voices(arguments: Sequence[str]) -> dict[str, Path]:
    """NAME=FILE … -> files by name, in order. Raises `UserError` for anything else."""
    voices: dict[str, Path] = {}
    for argument in arguments:
        name, equals, file = argument.partition("=")
        if not equals or not file:
            raise UserError(f"--voice {argument}: write NAME=FILE, as in --voice anna=anna.wav")
        if not _NAME.fullmatch(name):
            raise UserError(f"--voice {argument}: a name is letters, digits, '-', '_' and '.'")
        if name in voices:
            raise UserError(f"--voice {argument}: there are two voices called {name}")
        voices[name] = Path(file)
    return voices


def read_voices(files: dict[str, Path], codec: CodecConfig) -> list[VoiceSource]:
    """Read all files, for this codec. Raises `UserError` naming the file."""
    return [_read_voice(name, file, codec) for name, file in files.items()]


def write_voices(
    voices: Sequence[VoiceSource], folder: Path, encoder: GraphSpec, graphs: Path | None = None
) -> dict[str, str]:
    """Write `voices/NAME.safetensors` into a bundle; returns the files by name.

    graphs: where the encoder's graph is, if not in the bundle.
    """
    files = {}
    for voice in voices:
        speaker = _encode(voice, graphs or folder, encoder) if voice.is_recording else voice.values
        files[voice.name] = f"{VOICE_FOLDER}/{voice.name}{SUFFIX}"
        write_speaker(folder / files[voice.name], speaker)
    return files


def _read_voice(name: str, file: Path, codec: CodecConfig) -> VoiceSource:
    if not file.is_file():
        raise UserError(f"{file}: not found; --voice {name}= needs a recording or {SUFFIX}")
    if file.suffix == SUFFIX:
        speaker = read_speaker(file, codec.speaker_channels)
        return VoiceSource(name, file, speaker, is_recording=False)
    speech = condition_speech(read_sound(file), codec.sample_rate_hz)
    return VoiceSource(name, file, speech, is_recording=True)


def _encode(voice: VoiceSource, folder: Path, encoder: GraphSpec) -> Array:
    speaker = GraphRunner(folder, encoder).run({AUDIO: voice.values[None]})[SPEAKER][0]
    if not np.isfinite(speaker).all():
        raise UserError(f"{voice.file}: the codec gives no finite speaker embedding for it")
    return np.ascontiguousarray(speaker)
