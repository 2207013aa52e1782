"""Uploaded voices: kept with their consent, spoken with, deleted; and what is not taken."""

from __future__ import annotations

import errno
import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest

from commands.errors import UserError
from runtime.audio.sound import to_pcm16
from runtime.serving.encoding import wav_header
from runtime.serving.voices import recordings, registry
from runtime.serving.voices.registry import VoiceRegistry
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SEED, SENTENCE, Served, serving
from tests.speech_like import speak

CONSENT = "Anna read this for us and signed on 3 May."


def wav(audio: Any, rate_hz: int = 16_000) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(to_pcm16(np.asarray(audio, np.float32)))
    return content.getvalue()


RECORDING = wav(speak(12))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "voices"


@pytest.fixture
def uploading(tts: TTS, folder: Path) -> Iterator[Served]:
    with serving(tts, voices_folder=folder, max_upload_bytes=2_000_000) as served:
        yield served


def upload(served: Served, recording: bytes = RECORDING, **fields: Any) -> httpx.Response:
    form = {"name": "anna", "consent": CONSENT} | fields
    files = {"audio_sample": ("a.wav", recording, "audio/wav")}
    url = f"{served.url}/v1/audio/voices"
    return httpx.post(url, data=form, files=files, timeout=60)


def listed(served: Served) -> dict[str, str]:
    voices = httpx.get(f"{served.url}/v1/audio/voices", timeout=60).json()["voices"]
    return {voice["name"]: voice["id"] for voice in voices}


def say(served: Served, voice: str) -> httpx.Response:
    body = {"input": SENTENCE, "voice": voice, "seed": SEED, "response_format": "wav"}
    return httpx.post(f"{served.url}/v1/audio/speech", json=body, timeout=60)


def test_a_voice_is_kept_spoken_with_and_deleted(
    uploading: Served, folder: Path, tmp_path: Path
) -> None:
    answer = upload(uploading)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["object"], told["name"]) == ("audio.voice", "anna")
    assert listed(uploading) == {"plain": "plain", "other": "other", "anna": told["id"]}
    legacy = httpx.get(f"{uploading.url}/v1/audio/voices?legacy=true", timeout=60).json()
    assert legacy == {"voices": ["plain", "other", "anna"]}

    path = tmp_path / "anna.wav"
    path.write_bytes(RECORDING)
    tts = uploading.tts
    audio = tts.synthesize(SENTENCE, voice=path, sampling=Sampling(seed=SEED)).audio
    expected = wav_header(tts.sample_rate) + to_pcm16(audio)
    assert say(uploading, "anna").content == expected
    assert say(uploading, told["id"]).content == expected
    assert say(uploading, "plain").content != expected

    again = VoiceRegistry(tts, folder)
    assert again.names == ("plain", "other", "anna")
    np.testing.assert_array_equal(again.speaker("anna"), tts.speaker(path))
    assert again.uploaded[0].consent == CONSENT

    url = f"{uploading.url}/v1/audio/voices/{told['id']}"
    assert httpx.delete(url, timeout=60).json()["deleted"] is True
    assert not [*folder.iterdir()]
    assert httpx.delete(url, timeout=60).status_code == 404
    assert say(uploading, "anna").status_code == 400


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"consent": ""}, "consent"),
        ({"consent": " "}, "consent"),
        ({"name": ""}, "name"),
        ({"name": "../../x"}, "name"),
        ({"name": "a\\b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "plain"}, "name"),
        ({"name": "alloy"}, "name"),
    ],
)
def test_unfit_names_and_missing_consent_are_refused(
    uploading: Served, folder: Path, fields: dict[str, Any], param: str
) -> None:
    answer = upload(uploading, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert not [*folder.iterdir()]


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (b"", "is empty"),
        (b"RIFF....WAVE" + bytes(200), "audio_sample: "),
        (b"<html>no sound</html>", "text or a web page"),
        (wav(np.zeros(32_000)), "is silent"),
        (wav(np.tile(speak(12), 10)), "the limit is 30 s"),
    ],
)
def test_unfit_recordings_are_refused(
    uploading: Served, folder: Path, recording: bytes, said: str
) -> None:
    answer = upload(uploading, recording)
    assert answer.status_code == 400, answer.text
    message = answer.json()["error"]["message"]
    assert said in message
    assert "/tmp" not in message
    assert not [*folder.iterdir()]


def test_uploads_are_bounded(uploading: Served, served: Served, tts: TTS) -> None:
    assert upload(uploading, bytes(2_000_001)).status_code == 413
    assert upload(uploading, bytes(4_000_000)).status_code == 413
    with serving(tts) as closed:
        answer = upload(closed)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "uploads_are_off")
    form = {"name": "anna", "consent": CONSENT}
    answer = httpx.post(f"{uploading.url}/v1/audio/voices", data=form, timeout=60)
    assert answer.json()["error"]["param"] == "audio_sample"
    assert upload(uploading).status_code == 200
    assert upload(uploading).json()["error"]["code"] == "voice_exists"


def test_there_is_a_bound_on_their_number(tts: TTS, folder: Path) -> None:
    voices = VoiceRegistry(tts, folder, max_uploaded=1)
    voices.add("one", RECORDING, CONSENT)
    with pytest.raises(Exception, match="delete one"):
        voices.add("two", RECORDING, CONSENT)


def test_a_full_disk_is_told_and_leaves_nothing(
    uploading: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(registry, "write_atomically", full)
    answer = upload(uploading)
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]["message"]
    assert not [*folder.iterdir()]
    assert "anna" not in listed(uploading)


def test_decoding_ends_in_time_and_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_TTS_API_KEY", "a-key-of-some-length")
    given: list[dict[str, str]] = []
    run = recordings.subprocess.run

    def watched(*arguments: Any, **options: Any) -> Any:
        given.append(options["env"])
        return run(*arguments, **options)

    monkeypatch.setattr(recordings.subprocess, "run", watched)
    monkeypatch.setattr(recordings, "LIMIT_SECONDS", 0.01)
    with pytest.raises(UserError, match=r"could not be decoded in 0.01 s"):
        recordings.decode_recording(RECORDING, 16_000)
    assert "SLM_TTS_API_KEY" not in given[0]


def test_decoding_may_not_use_much_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker that asks for more than its bound ends, and the upload is refused."""
    worker = tmp_path / "greedy_worker.py"
    worker.write_text(
        "from runtime.serving.voices.recording_worker import limit_resources\n"
        "limit_resources()\nbytearray(3 * 1024**3)\n"
    )
    monkeypatch.setattr(recordings, "WORKER", "greedy_worker")
    monkeypatch.setattr(recordings, "KEPT", ("PATH", "PYTHONPATH"))
    monkeypatch.setattr(recordings, "ROOT", f"{recordings.ROOT}:{tmp_path}")
    with pytest.raises(UserError, match="too much memory or time"):
        recordings.decode_recording(RECORDING, 16_000)


def test_a_file_is_no_folder_for_voices(tts: TTS, folder: Path) -> None:
    (file := folder.parent / "file").write_text("")
    with pytest.raises(UserError, match=r"no voices can be kept in .*; choose another folder"):
        VoiceRegistry(tts, file)


def test_damaged_files_are_named_at_the_start(tts: TTS, folder: Path) -> None:
    folder.mkdir()
    (folder / "voice_1.json").write_text("{")
    with pytest.raises(UserError, match=r"voice_1\.json: is damaged"):
        VoiceRegistry(tts, folder)
    (folder / "voice_1.json").write_text('{"id":"x","name":"x","consent":"x","created_at":1}')
    with pytest.raises(UserError, match="of another voice"):
        VoiceRegistry(tts, folder)


def test_servers_that_share_a_folder_share_its_voices(
    uploading: Served, tts: TTS, folder: Path
) -> None:
    with serving(tts, voices_folder=folder) as other:
        told = upload(uploading).json()
        assert say(other, "anna").content == say(uploading, "anna").content
        assert listed(other)["anna"] == told["id"]
        assert upload(other).status_code == 400, "the name is taken"
        assert httpx.delete(f"{other.url}/v1/audio/voices/anna", timeout=60).status_code == 200
        assert say(uploading, "anna").status_code == 400, "consent ends everywhere"
        assert not [*folder.iterdir()]


def test_a_file_that_is_damaged_later_hides_no_other_voice(
    uploading: Served, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upload(uploading)
    (folder / "voice_damaged.json").write_text("{")
    assert say(uploading, "anna").status_code == 200
    assert say(uploading, "nobody").status_code == 400
    assert "voice_damaged.json: is damaged" in caplog.text
