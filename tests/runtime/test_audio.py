"""Recordings: good ones of every shape are read alike, bad ones are refused with one line."""

from __future__ import annotations

import shlex
import struct
import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commands.errors import SpeechWarning, UserError
from commands.run import run_cli
from formats.files.atomic import write_atomically
from runtime.audio import sound
from runtime.audio.sound import to_pcm16, write_wav

SAMPLE_RATE_HZ = 16_000
read_recording = partial(sound.read_recording, rate_hz=SAMPLE_RATE_HZ)
convert_audio = partial(sound.convert_audio, to_rate_hz=SAMPLE_RATE_HZ)


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


def pipe_wav(announced: int, samples: np.ndarray) -> bytes:
    header = wav_header(16_000, 1, 0)
    return header[:-4] + struct.pack("<I", announced) + samples.astype("<i2").tobytes()


@pytest.mark.parametrize("announced", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 2**24])
def test_a_wav_that_came_through_a_pipe_is_read(tmp_path: Path, announced: int) -> None:
    path = tmp_path / "pipe.wav"
    path.write_bytes(pipe_wav(announced, 32_767 * tone(16_000)))
    np.testing.assert_allclose(read_recording(path), tone(16_000), atol=1e-4)


def test_a_wav_whose_header_says_no_bytes_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "my pipe.wav"
    path.write_bytes(pipe_wav(0, 32_767 * tone(16_000)))
    complaint = r"says 0 bytes of audio, as programs that write into a pipe leave it, but 16000 fol"
    with pytest.raises(UserError, match=complaint) as refusal:
        read_recording(path)
    converted = str(tmp_path / "my pipe-converted.wav")
    assert f"ffmpeg -i '{path}' -ac 1 '{converted}'" in str(refusal.value)


FOREIGN = {
    "m4a.mp3": (b"\0\0\0\x20ftypM4A \0\0\0\0", "an M4A file"),
    "mp4.wav": (b"\0\0\0\x20ftypisom\0\0\0\0", "an MP4 file"),
    "film.mov": (b"\0\0\0\x14ftypqt  ", "a QuickTime film"),
    "phone.wav": (b"\0\0\0\x18ftyp3gp4", "a 3GP file"),
    "web.wav": (b"\x1aE\xdf\xa3\x01\0\0\0webm", "a WebM or Matroska file"),
    "old.wav": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "a WMA or ASF file"),
    "amr.wav": (b"#!AMR\n\x3c", "an AMR file"),
    "chat.wav": (b"\x02#!SILK_V3", "a SILK voice message"),
    "aac.wav": (b"\xff\xf1\x50\x80", "an AAC file"),
    "cut.flac": (b"fLaC\0\0\0", "a damaged FLAC file"),
    "page.wav": (b"\n<!DOCTYPE html><html>", "text or a web page"),
    "notes.wav": (b"They know it.\n" * 9, "text or a web page"),
    "lfs.wav": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
    "zip.wav": (b"PK\x03\x04\x14\0", "a ZIP archive"),
    "codec.pt": (b"PK\x03\x04\0\0\x08\x08codec/data.pklFB\x14\0ZZ", "a file of PyTorch"),
    "old.pt": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "an old file of PyTorch"),
    "array.npy": (b"\x93NUMPY\x01\0", "an array of NumPy"),
    "kind.wav": (b"RIFF\x64\0\0\0WAVEjunk", "a WAV that is damaged"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_named_by_what_they_hold(tmp_path: Path, name: str) -> None:
    content, what = FOREIGN[name]
    path = tmp_path / name
    path.write_bytes(content + (b"" if what.startswith("text") else bytes(100)))
    with pytest.raises(UserError, match=rf"cannot be read: it is {what}"):
        read_recording(path)


def test_raw_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.RAW"
    path.write_bytes(bytes(32_000))
    with pytest.raises(UserError, match="is raw samples, which do not say their rate"):
        read_recording(path)


@pytest.mark.parametrize("name", ["my take.pcm", "take.s16", "take", "take.raw", "take.wav"])
def test_raw_samples_come_with_a_command_that_says_their_rate(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((20_000 * tone(16_000)).astype("<i2").tobytes())
    with pytest.raises(UserError, match="raw samples, which do not say their rate") as refusal:
        read_recording(path)
    command = shlex.split(str(refusal.value).split("as with ")[1])
    converted = str(path.with_name(f"{path.stem}-converted.wav"))
    raw = ["-f", "s16le", "-ar", "16000", "-ac", "1"]
    assert command == ["ffmpeg", *raw, "-i", str(path), "-ac", "1", converted]


def test_a_program_is_not_called_raw_samples(tmp_path: Path) -> None:
    path = tmp_path / "any.wav"
    path.write_bytes(b"MZ" + bytes(100))
    with pytest.raises(UserError, match="a program, no recording"):
        read_recording(path)


@given(st.binary(max_size=400), st.sampled_from([".wav", ".mp3", ".flac", ".ogg", ".au", ".sd2"]))
def test_any_bytes_are_read_or_refused(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"any{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"any{suffix}: "):
            read_recording(path)


FORMATS = [
    *[("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")],
    *[("WAV", "ALAW"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16"), ("CAF", "PCM_16"), ("W64", "FLOAT")],
]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_usual_formats(tmp_path: Path, container: str, subtype: str) -> None:
    path = tmp_path / "tone.bin"
    soundfile.write(path, tone(16_000), 16_000, format=container, subtype=subtype)
    tolerance = 0.02 if subtype in ("ULAW", "ALAW") else 1e-4
    np.testing.assert_allclose(read_recording(path), tone(16_000), atol=tolerance)


def test_channels_that_cancel_give_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    channels = np.stack([0.5 * tone(16_000), -tone(16_000)], axis=1)
    opposite = np.stack([tone(16_000), -tone(16_000)], axis=1)
    soundfile.write(path, opposite, 16_000, subtype="FLOAT")
    with pytest.warns(SpeechWarning, match=r"stereo.wav: its channels cancel.* only channel 1 is"):
        np.testing.assert_array_equal(read_recording(path), tone(16_000))
    with pytest.warns(SpeechWarning, match="audio: its channels cancel each other"):
        np.testing.assert_array_equal(convert_audio(opposite, 16_000), tone(16_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(convert_audio(channels, 16_000), -tone(16_000) / 4, atol=1e-6)
        one_of_eight = np.zeros((8_000, 8), np.float32)
        one_of_eight[:, 5] = tone(16_000)
        convert_audio(one_of_eight, 16_000)


def test_each_warning_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command(argv: Sequence[str] | None) -> None:
        for _ in range(2):
            convert_audio(np.stack([tone(16_000), -tone(16_000)], axis=1), 16_000)
        warnings.warn("of Python", UserWarning, stacklevel=1)

    assert run_cli(command, None) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "cancel" in line] == [
        "warning: audio: its channels cancel each other (one is the other upside down), "
        "so only channel 1 is used"
    ] * 2


@pytest.mark.parametrize("scale", [32_767, 8_388_607, 2_147_483_647])
def test_floats_in_the_range_of_integers_are_refused(tmp_path: Path, scale: int) -> None:
    path = tmp_path / "scaled.wav"
    soundfile.write(path, scale * tone(16_000), 16_000, subtype="FLOAT")
    for read in (lambda: read_recording(path), lambda: convert_audio(scale * tone(16_000), 16_000)):
        with pytest.raises(UserError, match=r"holds floats up to [\d,]+, full scale is 1"):
            read()


def test_floats_a_little_over_full_scale_are_audio() -> None:
    np.testing.assert_array_equal(convert_audio(4 * tone(16_000), 16_000), 4 * tone(16_000))


def test_wide_integers_with_narrow_values_are_refused() -> None:
    narrow = (32_767 * tone(16_000)).astype(np.int64)
    with pytest.raises(UserError, match=r"type int64, but its values are those of 16 bits"):
        convert_audio(narrow, 16_000)
    wide = (tone(16_000).astype(np.float64) * 2**31).astype(np.int32)
    np.testing.assert_allclose(convert_audio(wide, 16_000), tone(16_000), atol=1e-6)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 24_000, 48_000])
def test_recordings_go_to_the_rate_asked_for(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(16_000), 16_000, subtype="FLOAT")
    audio = read_recording(path, rate_hz=rate_hz)
    assert len(audio) == rate_hz // 2
    middle = slice(rate_hz // 8, -rate_hz // 8)
    np.testing.assert_allclose(audio[middle], tone(rate_hz)[middle], atol=2e-3)


@given(st.integers(4_000, 192_000), st.sampled_from([0.1, 30.0]))
def test_no_rate_makes_audio_shorter_or_longer_than_allowed(rate_hz: int, seconds: float) -> None:
    frames = int(np.ceil(seconds * rate_hz) if seconds < 1 else np.floor(seconds * rate_hz))
    if frames > 200_000:  # as long as they are, they take too long here
        return
    audio = convert_audio(np.ones(frames, np.float32), rate_hz)
    assert 0.1 * SAMPLE_RATE_HZ <= len(audio) <= 30 * SAMPLE_RATE_HZ
