"""Audio in and out: recordings become float32 mono at a codec's rate, speech becomes PCM.

In: sound files from anywhere, or arrays of any rate and channel count.
Out: float32 [samples] at the rate asked for, checked; 16-bit PCM bytes; WAV files.
It does not know codecs, frames or models, or where in a recording somebody speaks.
"""

from __future__ import annotations

import io
import warnings
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import SpeechWarning, UserError
from formats.files.atomic import require_unicode_path, write_atomically
from runtime.audio.channels import ChannelMeter
from runtime.audio.sound_files import (
    explain_foreign,
    explain_no_samples,
    explain_raw,
    explain_unreadable,
)

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 64
MIN_SECONDS = 0.1
MAX_SECONDS = 30.0  # enough for any reference voice; the encoder's memory grows with its square
SILENCE_PEAK = 1e-4  # -80 dB of full scale
MAX_PEAK = 16.0  # +24 dB: floats beyond are integers that nobody scaled
PCM16_PEAK = 32_767

_BLOCK_FRAMES = 65_536


@dataclass(frozen=True)
class Sound:
    """The audio of a file or an array.

    mono: float32 [samples] at `rate_hz`, its own rate. where: its name in messages.
    clipped_share: share of its worst channel's samples that are cut off at the loudest value.
    rounding_step: the step that its samples were rounded to, 0 if it is too fine to matter.
    """

    mono: NDArray[np.float32]
    rate_hz: int
    where: str
    clipped_share: float = 0.0
    rounding_step: float = 0.0

    def at_rate(self, rate_hz: int) -> NDArray[np.float32]:
        """float32 [samples] at another rate."""
        audio = self.mono
        if self.rate_hz != rate_hz:
            import soxr  # whoever only speaks needs it not

            audio = soxr.resample(audio, self.rate_hz, rate_hz)
        return np.ascontiguousarray(audio, np.float32)


def read_recording(
    path: str | Path,
    max_seconds: float = MAX_SECONDS,
    min_seconds: float = MIN_SECONDS,
    *,
    rate_hz: int,
) -> NDArray[np.float32]:
    """Read a sound file as float32 [samples] at `rate_hz`, as `read_sound` does."""
    return read_sound(path, max_seconds, min_seconds).at_rate(rate_hz)


def read_sound(
    path: str | Path, max_seconds: float = MAX_SECONDS, min_seconds: float = MIN_SECONDS
) -> Sound:
    """Read a sound file; channels are averaged, or the loudest is taken if they cancel each other.

    Anything libsndfile reads: WAV, FLAC, Ogg, MP3 … A recording that is too long is refused,
    not cut: the user decides where to cut. Memory is bounded by `max_seconds`, whatever the
    file's header says.

    Raises:
        UserError: no sound file, 0 Hz or another rate out of range, too short or too long,
            NaN, infinite or unscaled samples, silence.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such recording")
    require_unicode_path(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: is empty (0 bytes); record it again")
    if path.suffix.lower() == ".raw":
        raise UserError(f"{path}: is {explain_raw(path)}")
    if foreign := explain_foreign(path):
        raise UserError(f"{path}: {foreign}")
    import soundfile  # as soxr

    try:
        with soundfile.SoundFile(path) as recording:
            sound = _read_file(recording, path, max_seconds, min_seconds)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: {explain_unreadable(path, error.error_string)}") from None
    if np.abs(sound.mono).max() < SILENCE_PEAK:
        raise UserError(f"{path}: is silent; use a recording with speech")
    return sound


def convert_audio(
    audio: NDArray[Any],
    rate_hz: int,
    max_seconds: float = MAX_SECONDS,
    *,
    to_rate_hz: int,
) -> NDArray[np.float32]:
    """float32 [samples] at `to_rate_hz` of an array, as `convert_sound` takes it."""
    return convert_sound(audio, rate_hz, max_seconds).at_rate(to_rate_hz)


def convert_sound(
    audio: NDArray[Any], rate_hz: int, max_seconds: float = MAX_SECONDS, *, where: str = "audio"
) -> Sound:
    """As `read_sound`, for an array: [samples] or [samples, channels], floats or signed integers.
    where: its name in messages.

    Raises:
        UserError: as `read_sound` (but silence is allowed), or another shape or type.
    """
    audio = np.asarray(audio)
    if audio.ndim not in (1, 2):
        raise UserError(
            f"{where}: has {audio.ndim} dimensions; give [samples] or [samples, channels]"
        )
    audio = audio if audio.ndim == 2 else audio[:, None]
    _check_format(rate_hz, audio.shape[1], where)
    _check_not_longer(len(audio), rate_hz, where, max_seconds)
    _check_not_shorter(len(audio), rate_hz, where, MIN_SECONDS)
    meter = ChannelMeter(audio.shape[1])
    samples = _scale_integers(audio, where)
    meter.add(samples)
    mono = samples.mean(axis=1)
    if _must_choose(meter, mono, where):
        mono = samples[:, meter.loudest]
    return Sound(mono, rate_hz, where, meter.clipped_share, meter.rounding_step)


def to_pcm16(audio: NDArray[np.float32]) -> bytes:
    """float32 in [-1, 1] -> little-endian 16-bit samples; louder samples are clipped."""
    return (np.clip(audio, -1.0, 1.0) * PCM16_PEAK).round().astype("<i2").tobytes()


def write_wav(path: str | Path, audio: NDArray[np.float32], rate_hz: int) -> None:
    """Write float32 [samples] as a 16-bit WAV; the file appears whole or not at all.

    Raises:
        UserError: a file name that does not end in .wav, or no such folder.
    """
    path = Path(path)
    if path.suffix.lower() != ".wav":
        raise UserError(f"{path}: only WAV files can be written; end its name in .wav")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(to_pcm16(audio))
    write_atomically(path, content.getvalue())


def _read_file(recording: Any, path: Path, max_seconds: float, min_seconds: float) -> Sound:
    where, rate_hz = str(path), recording.samplerate
    _check_format(rate_hz, recording.channels, where)
    _check_not_longer(recording.frames, rate_hz, where, max_seconds)
    meter = ChannelMeter(recording.channels)
    parts, total = [np.zeros(0, np.float32)], 0
    while len(block := recording.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        meter.add(block)
        parts.append(block.mean(axis=1))
        total += len(block)
        _check_not_longer(total, rate_hz, where, max_seconds)
    if not total and (why := explain_no_samples(path)):
        raise UserError(f"{path}: {why}")
    _check_not_shorter(total, rate_hz, where, min_seconds)
    mono = np.concatenate(parts)
    if _must_choose(meter, mono, where):
        mono = _read_channel(recording, meter.loudest)
    return Sound(mono, rate_hz, where, meter.clipped_share, meter.rounding_step)


def _read_channel(recording: Any, channel: int) -> NDArray[np.float32]:
    """One channel of a recording that has been read once and is not too long."""
    recording.seek(0)
    parts = []
    while len(block := recording.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        parts.append(block[:, channel])
    return np.concatenate(parts)


def _must_choose(meter: ChannelMeter, mono: NDArray[np.float32], where: str) -> bool:
    """Whether one channel must be used instead of the average. Raises `UserError` for samples
    that are not audio."""
    if not np.isfinite(mono).all() or not np.isfinite(meter.peak):
        raise UserError(f"{where}: holds NaN or infinite samples; write it again without them")
    if meter.peak > MAX_PEAK:
        raise UserError(
            f"{where}: holds floats up to {meter.peak:,.0f}, full scale is 1; "
            f"divide 16-bit samples by 32768"
        )
    if not meter.cancels:
        return False
    warnings.warn(
        f"{where}: its channels cancel each other (one is the other upside down), "
        f"so only channel {meter.loudest + 1} is used",
        SpeechWarning,
        stacklevel=4,
    )
    return True


def _scale_integers(audio: NDArray[Any], where: str) -> NDArray[np.float32]:
    """[samples, channels] of any type -> float32."""
    if audio.dtype.kind == "f":
        return audio.astype(np.float32)
    if audio.dtype.kind != "i":
        raise UserError(f"{where}: has type {audio.dtype}; give floats or signed integers")
    if audio.dtype.itemsize > 2 and 0 < np.abs(audio).max(initial=0) <= PCM16_PEAK + 1:
        raise UserError(
            f"{where}: has type {audio.dtype}, but its values are those of 16 bits; "
            "give audio.astype(np.int16)"
        )
    return (audio / -float(np.iinfo(audio.dtype).min)).astype(np.float32)


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


def _check_not_shorter(frames: int, rate_hz: int, where: str, min_seconds: float) -> None:
    if frames < min_seconds * rate_hz:
        raise UserError(
            f"{where}: lasts {frames / rate_hz:.3f} s; at least {min_seconds:g} s are needed"
        )
