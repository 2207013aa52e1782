"""Each format, fed in pieces: it decodes to as much sound as went in, and begins at once."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.audio.sound import to_pcm16
from runtime.serving.encoding import (
    FORMATS,
    SpeechEncoder,
    encode_whole,
    native_rate,
    wav_header,
)

av = pytest.importorskip("av")
RATE_HZ = 16_000
SECONDS = 6.0  # coders of blocks add up to a tenth of a second
WITHIN = 0.02


def tone(seconds: float = SECONDS, hz: float = 220.0) -> NDArray[np.float32]:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.4 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def pieces(audio: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return np.split(audio, [1, 2_000, 2_000, 9_000, 30_001])


def decode(content: bytes, name: str) -> tuple[NDArray[np.float32], int]:
    """Samples and rate, by FFmpeg's demuxers."""
    if name == "pcm":
        return (np.frombuffer(content, "<i2") / 32_767).astype(np.float32), RATE_HZ
    with av.open(io.BytesIO(content)) as container:
        frames = [*container.decode(audio=0)]
    rows = [frame.to_ndarray() for frame in frames]
    joined = np.concatenate([row.mean(axis=0) for row in rows])
    scale = 32_767 if joined.dtype.kind == "f" and rows[0].dtype == np.int16 else 1
    return (joined / scale).astype(np.float32), frames[0].sample_rate


def pitch(audio: NDArray[np.float32], rate_hz: int) -> float:
    middle = audio[len(audio) // 4 : -len(audio) // 4]
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(np.argmax(power)) * rate_hz / len(middle)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_holds_the_whole_sound(name: str) -> None:
    audio = tone()
    encoder = SpeechEncoder(name, RATE_HZ)
    parts = [encoder.feed(piece) for piece in pieces(audio)]
    assert any(parts), "nothing came before the end"
    decoded, rate_hz = decode(b"".join(parts) + encoder.finish(), name)
    seconds = len(decoded) / rate_hz
    assert abs(seconds - SECONDS) <= WITHIN * SECONDS
    assert abs(pitch(decoded, rate_hz) - 220) < 3
    if name in ("flac", "wav", "pcm"):
        np.testing.assert_array_equal(np.round(decoded * 32_767), np.round(audio * 32_767))


@pytest.mark.parametrize("name", FORMATS)
def test_a_fifth_of_a_second_is_enough_for_the_first_bytes(name: str) -> None:
    encoder = SpeechEncoder(name, RATE_HZ)
    first = encoder.feed(tone(0.2))
    assert first
    if name == "opus":
        assert first.count(b"OggS") > 5, "the default pages hold two seconds back"


@pytest.mark.parametrize("name", FORMATS)
def test_no_sound_is_an_empty_file(name: str) -> None:
    content = SpeechEncoder(name, RATE_HZ).finish()
    assert len(content) < 10_000


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.5, 4.0])
def test_speed_changes_the_length_and_keeps_the_pitch(speed: float) -> None:
    audio = encode_whole("pcm", pieces(tone(6.0)), RATE_HZ, speed=speed)
    decoded, _ = decode(audio, "pcm")
    assert abs(len(decoded) / RATE_HZ - 6.0 / speed) <= WITHIN * 6.0 / speed
    assert abs(pitch(decoded, RATE_HZ) - 220) < 5


def test_another_rate_is_the_same_in_pieces_and_whole() -> None:
    whole = encode_whole("pcm", [tone()], RATE_HZ, 24_000)
    assert encode_whole("pcm", pieces(tone()), RATE_HZ, 24_000) == whole
    assert len(whole) == 2 * round(SECONDS * 24_000)


def test_a_wav_has_one_short_header() -> None:
    encoder = SpeechEncoder("wav", RATE_HZ)
    audio = tone(0.5)
    streamed = encoder.feed(audio) + encoder.finish()
    assert streamed == wav_header(RATE_HZ) + to_pcm16(audio)
    assert struct.unpack_from("<I", streamed, 40) == (0xFFFFFFFF,)
    with wave.open(io.BytesIO(encode_whole("wav", [audio], RATE_HZ))) as whole:
        assert (whole.getframerate(), whole.getnframes()) == (RATE_HZ, len(audio))
        assert whole.readframes(whole.getnframes()) == to_pcm16(audio)


def test_rates_that_a_format_lacks_are_raised() -> None:
    assert native_rate("opus", 22_050) == 24_000
    assert native_rate("opus", 16_000) == 16_000
    assert native_rate("mp3", 96_000) == 48_000
    assert native_rate("flac", 22_051) == 22_051
