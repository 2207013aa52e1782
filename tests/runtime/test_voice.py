"""Voices by name, by file, by recording, by array; and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from commands.errors import UserError
from runtime import TTS
from runtime.audio.conditioning import condition_speech
from runtime.audio.sound import read_sound
from tests.runtime.tiny_bundle import HOP, SPEAKER, SPEAKER_CHANNELS, Scenario, write_bundle
from tests.runtime.tiny_bundle import rewrite_manifest as rewrite
from tests.speech_like import speak


def test_a_name_and_the_default(tts: TTS) -> None:
    np.testing.assert_array_equal(tts.speaker("plain"), SPEAKER)
    np.testing.assert_array_equal(tts.speaker(), SPEAKER)


def test_an_array(tts: TTS) -> None:
    voice = tts.speaker(np.full(SPEAKER_CHANNELS, 0.25))
    assert voice.dtype == np.float32
    assert voice.tolist() == [0.25] * SPEAKER_CHANNELS


def test_a_file(tts: TTS, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({"speaker": SPEAKER * 2}, path)
    np.testing.assert_array_equal(tts.speaker(path), SPEAKER * 2)
    np.testing.assert_array_equal(tts.speaker(str(path)), SPEAKER * 2)
    save_file({"voice": SPEAKER * 3}, path)  # the only tensor may have any name
    np.testing.assert_array_equal(tts.speaker(path), SPEAKER * 3)


def test_a_recording(tts: TTS, tmp_path: Path) -> None:
    path = tmp_path / "mine.wav"
    soundfile.write(path, np.pad(0.1 * speak(), 8_000), 16_000, subtype="FLOAT")
    loudest = condition_speech(read_sound(path), 16_000).max()
    assert 0.4 < loudest < 1, "brought to one loudness"
    np.testing.assert_allclose(tts.speaker(path), np.full(SPEAKER_CHANNELS, loudest), rtol=1e-6)


def test_a_recording_without_speech(tts: TTS, tmp_path: Path) -> None:
    path = tmp_path / "mine.wav"
    soundfile.write(path, np.full(16_000, 0.25), 16_000)
    with pytest.raises(UserError, match=r"mine.wav: is silent or constant"):
        tts.speaker(path)


def test_a_recording_goes_to_the_rate_of_the_codec(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "engine", Scenario(sample_rate_hz=24_000))
    path = tmp_path / "mine.wav"
    soundfile.write(path, speak(), 16_000, subtype="FLOAT")
    loudest = condition_speech(read_sound(path), 24_000).max()
    tts = TTS.load(folder)
    np.testing.assert_allclose(tts.speaker(path), np.full(SPEAKER_CHANNELS, loudest), rtol=1e-6)
    frames, speaker = tts.encode(speak(), 16_000)
    np.testing.assert_allclose(speaker, np.full(SPEAKER_CHANNELS, loudest), rtol=1e-6)
    assert len(frames) == 24_000 * len(speak()) // 16_000 // HOP


def test_the_voice_is_heard_and_the_frames_stay(tts: TTS) -> None:
    frames = np.arange(30).reshape(10, 3)
    other = tts.decode(frames, SPEAKER + 0.5)
    assert np.abs(other - tts.decode(frames, SPEAKER)).min() > 0.1


def test_an_unknown_name_lists_the_known_ones(tts: TTS) -> None:
    with pytest.raises(UserError, match="no voice nobody: neither a file nor one of plain"):
        tts.speaker("nobody")
    for alike in ("Plain", "plian", "PLAIN "):
        with pytest.raises(UserError, match=rf"no voice {alike}: .*; did you mean plain\?"):
            tts.speaker(alike)


def test_no_default_voice(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "engine")
    rewrite(folder, default_voice=None)
    with pytest.raises(UserError, match="has no default voice"):
        TTS.load(folder).speaker()


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        ({"one": SPEAKER, "other": SPEAKER}, 'holds 2 tensors, none called "speaker"'),
        ({"speaker": SPEAKER[:-1]}, "must hold 7 finite numbers"),
        ({"speaker": SPEAKER.astype(np.int32)}, "whole numbers"),
        ({"speaker": SPEAKER * np.inf}, "must hold 7 finite numbers"),
        ({"speaker": SPEAKER, "more": np.zeros(400_000, np.float32)}, "larger than"),
    ],
)
def test_unfit_voice_files(
    tts: TTS, tmp_path: Path, tensors: dict[str, np.ndarray], complaint: str
) -> None:
    path = tmp_path / "bad.safetensors"
    save_file(tensors, path)
    with pytest.raises(UserError, match=complaint):
        tts.speaker(path)


def test_a_file_that_is_no_safetensors(tts: TTS, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(UserError, match="not a safetensors file"):
        tts.speaker(path)
