"""Audio in and out: recordings become float32 mono at 16 kHz, synthesized audio becomes PCM.

In: sound files that anybody may have sent, or arrays of any rate and channel count.
Out: float32 [samples] at `SAMPLE_RATE_HZ`, checked; 16-bit PCM bytes; WAV files.
It does not know codecs, frames or models.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from runtime.errors import UserError
from runtime.files import require_unicode_path, write_atomically

SAMPLE_RATE_HZ = 16_000
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 64
MIN_SECONDS = 0.1
MAX_SECONDS = 30.0  # enough for any reference voice; the encoder's memory grows with its square
SILENCE_PEAK = 1e-4  # -80 dB of full scale
PCM16_PEAK = 32_767

_BLOCK_FRAMES = 65_536


def read_recording(
    path: str | Path, max_seconds: float = MAX_SECONDS, min_seconds: float = MIN_SECONDS
) -> NDArray[np.float32]:
    """Read a sound file as float32 [samples], mono (channels averaged) at 16 kHz.

    Anything libsndfile reads: WAV, FLAC, Ogg, MP3 … A recording that is too long is refused,
    not cut: where to cut is the user's choice. Memory is bounded by `max_seconds`, whatever the
    file's header says.

    Raises:
        UserError: no sound file, 0 Hz or another rate out of range, too short or too long,
            NaN or infinite samples, silence.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such recording")
    require_unicode_path(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty (0 bytes); record it again")
    try:
        with soundfile.SoundFile(path) as recording:
            mono = _read_mono(recording, str(path), max_seconds)
            rate_hz = recording.samplerate
    except soundfile.LibsndfileError as error:
        raise UserError(
            f"{path}: cannot be read ({error.error_string.rstrip('.')}); "
            f"convert it to a WAV of {SAMPLE_RATE_HZ} Hz"
        ) from None
    audio = _finish_recording(mono, rate_hz, str(path), min_seconds)
    if np.abs(audio).max() < SILENCE_PEAK:
        raise UserError(f"{path}: is silent; use a recording with speech")
    return audio


def convert_audio(
    audio: NDArray[Any], rate_hz: int, max_seconds: float = MAX_SECONDS
) -> NDArray[np.float32]:
    """The same for an array: [samples] or [samples, channels], floats or signed integers.

    Raises:
        UserError: as `read_recording` (but silence is allowed), or another shape or type.
    """
    where = "audio"
    audio = np.asarray(audio)
    if audio.ndim not in (1, 2):
        raise UserError(
            f"{where}: has {audio.ndim} dimensions; give [samples] or [samples, channels]"
        )
    if audio.dtype.kind == "i":
        audio = audio / -float(np.iinfo(audio.dtype).min)
    elif audio.dtype.kind != "f":
        raise UserError(f"{where}: has type {audio.dtype}; give floats or signed integers")
    _check_format(rate_hz, 1 if audio.ndim == 1 else audio.shape[1], where)
    _check_not_longer(len(audio), rate_hz, where, max_seconds)
    mono = audio if audio.ndim == 1 else audio.mean(axis=1)
    return _finish_recording(mono.astype(np.float32), rate_hz, where, MIN_SECONDS)


def to_pcm16(audio: NDArray[np.float32]) -> bytes:
    """float32 in [-1, 1] -> little-endian 16-bit samples; louder samples are clipped."""
    return (np.clip(audio, -1.0, 1.0) * PCM16_PEAK).round().astype("<i2").tobytes()


def write_wav(path: str | Path, audio: NDArray[np.float32], rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write float32 [samples] as a 16-bit WAV; the file appears whole or not at all.

    Raises:
        UserError: a file name that does not end in .wav, or no such folder.
    """
    path = Path(path)
    if path.suffix.lower() != ".wav":
        raise UserError(f"{path}: only WAV files can be written; end its name in .wav")
    content = io.BytesIO()
    samples = np.frombuffer(to_pcm16(audio), "<i2")
    soundfile.write(content, samples, rate_hz, format="WAV", subtype="PCM_16")
    write_atomically(path, content.getvalue())


def _read_mono(recording: Any, where: str, max_seconds: float) -> NDArray[np.float32]:
    _check_format(recording.samplerate, recording.channels, where)
    _check_not_longer(recording.frames, recording.samplerate, where, max_seconds)
    parts, total = [], 0
    while len(block := recording.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        parts.append(block.mean(axis=1))
        total += len(block)
        _check_not_longer(total, recording.samplerate, where, max_seconds)
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _check_format(rate_hz: int, channels: int, where: str) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise UserError(
            f"{where}: has a rate of {rate_hz} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz can be used"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise UserError(f"{where}: has {channels} channels; 1 to {MAX_CHANNELS} can be used")


def _check_not_longer(frames: int, rate_hz: int, where: str, max_seconds: float) -> None:
    if frames > max_seconds * rate_hz:
        raise UserError(
            f"{where}: lasts {frames / rate_hz:.0f} s or more; "
            f"the limit is {max_seconds:g} s, so cut out a part"
        )


def _finish_recording(
    mono: NDArray[np.float32], rate_hz: int, where: str, min_seconds: float
) -> NDArray[np.float32]:
    if len(mono) < min_seconds * rate_hz:
        raise UserError(
            f"{where}: lasts {len(mono) / rate_hz:.3f} s; at least {min_seconds:g} s are needed"
        )
    if not np.isfinite(mono).all():
        raise UserError(f"{where}: holds NaN or infinite samples; write it again without them")
    if rate_hz != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ)
    return np.ascontiguousarray(mono, np.float32)
