"""Recordings: good ones of every shape are read alike, bad ones are refused with one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.audio import SAMPLE_RATE_HZ, convert_audio, read_recording, to_pcm16, write_wav
from runtime.errors import UserError
from runtime.files import write_atomically


def tone(rate_hz: int, seconds: float = 0.5, frequency_hz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def wav_header(rate_hz: int, channels: int, data_bytes: int) -> bytes:
    form = struct.pack(
        "<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16
    )
    data = b"data" + struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", 36 + data_bytes) + b"WAVEfmt " + form + data


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 16_000, 22_050, 44_100, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_any_rate_and_channel_count_becomes_the_same_tone(
    tmp_path: Path, rate_hz: int, channels: int
) -> None:
    path = tmp_path / "tone.wav"
    mono = tone(rate_hz)
    soundfile.write(path, np.tile(mono[:, None], (1, channels)), rate_hz, subtype="FLOAT")
    audio = read_recording(path)
    assert audio.dtype == np.float32
    assert len(audio) == SAMPLE_RATE_HZ // 2
    middle = slice(1_000, -1_000)
    np.testing.assert_allclose(audio[middle], tone(SAMPLE_RATE_HZ)[middle], atol=2e-3)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.flac"
    left, right = tone(16_000), np.zeros(8_000, np.float32)
    soundfile.write(path, np.stack([left, right], axis=1), 16_000)
    np.testing.assert_allclose(read_recording(path), left / 2, atol=1e-4)


def test_frequencies_above_half_the_rate_do_not_fold_back() -> None:
    audio = convert_audio(tone(48_000, frequency_hz=11_000.0), 48_000)
    assert np.abs(audio[1_000:-1_000]).max() < 0.5 * 10 ** (-60 / 20)


BAD_FILES = {
    "0 bytes": (b"", "0 bytes"),
    "0 Hz": (wav_header(0, 1, 32_000) + bytes(32_000), "cannot be read"),
    "no channels": (wav_header(16_000, 0, 0), "cannot be read"),
    "300 channels": (wav_header(16_000, 300, 600_000) + bytes(600_000), "300 channels"),
    "1 Hz": (wav_header(1, 1, 200) + bytes(200), "1 Hz"),
    "header only": (wav_header(16_000, 1, 32_000), "at least 0.1 s"),
    "no sound file": (b"MZ" * 500, "cannot be read"),
    "silence": (wav_header(16_000, 1, 32_000) + bytes(32_000), "silent"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused(tmp_path: Path, name: str) -> None:
    content, complaint = BAD_FILES[name]
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint) as refusal:
        read_recording(path)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "nan.wav"
    audio = tone(16_000)
    audio[77] = value
    soundfile.write(path, audio, 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match="NaN or infinite"):
        read_recording(path)


def test_ten_minutes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.full(600 * 4_000, 1_000, np.int16), 4_000)
    with pytest.raises(UserError, match=r"lasts 600 s or more; the limit is 30 s"):
        read_recording(path)
    assert len(read_recording(path, max_seconds=600)) == 600 * SAMPLE_RATE_HZ


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such recording"):
        read_recording(tmp_path / "none.wav")


def test_arrays_of_integers_are_scaled() -> None:
    audio = convert_audio(np.full(3_200, -32_768, np.int16), 16_000)
    np.testing.assert_array_equal(audio, np.full(3_200, -1.0, np.float32))


@pytest.mark.parametrize(
    ("audio", "rate_hz", "complaint"),
    [
        (np.ones((2, 3, 4), np.float32), 16_000, "3 dimensions"),
        (np.ones(4_000, np.uint8), 16_000, "type uint8"),
        (np.ones(4_000, np.float32), 0, "0 Hz"),
        (np.ones(10, np.float32), 16_000, "at least"),
        (np.ones(31 * 16_000, np.float32), 16_000, "limit is 30 s"),
        (np.zeros((4_000, 0), np.float32), 16_000, "0 channels"),
    ],
)
def test_unfit_arrays_are_refused(audio: np.ndarray, rate_hz: int, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        convert_audio(audio, rate_hz)


@given(arrays(np.float32, 50, elements=st.floats(-4, 4, width=32)))
def test_pcm_rounds_to_the_nearest_step_and_clips(audio: np.ndarray) -> None:
    samples = np.frombuffer(to_pcm16(audio), "<i2")
    np.testing.assert_allclose(samples / 32_767, np.clip(audio, -1, 1), atol=0.501 / 32_767)


@pytest.mark.parametrize("suffix", [".wav", ".WAV"])
def test_written_audio_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    audio = tone(16_000)
    write_wav(path, audio, 16_000)
    np.testing.assert_allclose(read_recording(path), audio, atol=1e-4)
    assert list(tmp_path.iterdir()) == [path]


def test_no_audio_at_all_is_a_valid_file(tmp_path: Path) -> None:
    write_wav(tmp_path / "empty.wav", np.zeros(0, np.float32), 16_000)
    assert soundfile.info(tmp_path / "empty.wav").frames == 0


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only WAV files"):
        write_wav(tmp_path / "out.mp3", tone(16_000), 16_000)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")

    def fail(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        write_atomically(tmp_path / "none" / "out.wav", b"")
