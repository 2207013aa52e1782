"""Recordings of phones and browsers: read like others, and refused like others."""

from __future__ import annotations

import io
import random
import time
from fractions import Fraction
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest

from commands.errors import UserError
from runtime.serving.voices.packed_recordings import DECODERS, read_packed, reader_of
from runtime.serving.voices.recordings import decode_recording
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import serving
from tests.runtime.serving.test_voices import CONSENT, RECORDING, wav
from tests.speech_like import speak

av = pytest.importorskip("av")

SPEECH = speak(12)
RATE_HZ = 16_000
# What the file is called -> container, codec and its options, as phones and browsers write them.
KINDS: dict[str, tuple[str, str, dict[str, str]]] = {
    "m4a": ("ipod", "aac", {}),
    "mp4": ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),  # Safari
    "alac.m4a": ("ipod", "alac", {}),
    "3gp": ("3gp", "aac", {}),
    "webm": ("webm", "libopus", {}),  # Chromium and Firefox
    "mkv": ("matroska", "flac", {}),
    "aac": ("adts", "aac", {}),
}


def pack(kind: str, audio: Any = SPEECH, channels: int = 1) -> bytes:
    container_name, codec, options = KINDS[kind]
    content = io.BytesIO()
    layout = "mono" if channels == 1 else "stereo"
    with av.open(content, "w", format=container_name, options=options) as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout=layout)
        pcm = (np.clip(np.asarray(audio), -1, 1) * 32767).astype(np.int16)
        interleaved = np.repeat(pcm, channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return content.getvalue()


def likeness(one: Any, other: Any) -> float:
    """The correlation of two signals at the shift where they fit best: 1 if they are the same."""
    size = len(one) + len(other)
    product = np.fft.rfft(one, size) * np.fft.rfft(other, size).conj()
    best = np.fft.irfft(product, size).max()
    return float(best / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_they_sound_like_the_same_recording_as_a_wav(kind: str, channels: int) -> None:
    content = pack(kind, channels=channels)
    name = reader_of(content)
    assert name is not None
    sound = read_packed(content, name, "audio_sample")
    assert likeness(sound.at_rate(RATE_HZ), SPEECH) > 0.95
    assert abs(len(sound.mono) / sound.rate_hz - len(SPEECH) / RATE_HZ) < 0.2


@pytest.mark.parametrize("kind", ["m4a", "webm"])
def test_they_become_voices(tts: TTS, tmp_path: Any, kind: str) -> None:
    files = {"audio_sample": (f"a.{kind}", pack(kind), f"audio/{kind}")}
    form = {"name": "anna", "consent": CONSENT}
    with serving(tts, voices_folder=tmp_path) as served:
        answer = httpx.post(f"{served.url}/v1/audio/voices", data=form, files=files, timeout=60)
        assert answer.status_code == 200, answer.text
        body = {"input": "Abc.", "voice": "anna"}
        spoken = httpx.post(f"{served.url}/v1/audio/speech", json=body, timeout=60)
        assert spoken.status_code == 200
    packed, _ = decode_recording(pack(kind), RATE_HZ)
    plain, _ = decode_recording(RECORDING, RATE_HZ)
    assert likeness(packed, plain) > 0.95


def test_the_speech_codec_of_telephones_is_read() -> None:
    """Nothing here writes AMR, so these are frames of it with noise as their parameters."""
    frame = b"\x3c" + random.Random(7).randbytes(31)
    sound = read_packed(b"#!AMR\n" + 50 * frame, "amr", "audio_sample")
    assert (sound.rate_hz, len(sound.mono)) == (8_000, 8_000)


def film() -> bytes:
    """A picture without sound."""
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pack("m4a")[:-2000], "audio_sample: is damaged"),
        (pack("webm")[:60], "audio_sample: "),
        (b"\0\0\0\x20ftypM4A " + bytes(400), "audio_sample: "),
        (film(), "holds no sound that can be read (found: none)"),
        (pack("webm", np.tile(SPEECH, 10)), "the limit is 30 s"),
        (pack("m4a", np.zeros(RATE_HZ)), "is silent"),
        (pack("webm", SPEECH[:800]), "at least 0.1 s are needed"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "text or a web page"),
        (b"OggS" + bytes(300), "audio_sample: "),
    ],
)
def test_unfit_ones_are_refused_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(UserError) as refused:
        decode_recording(content, RATE_HZ)
    assert said in str(refused.value)
    assert "/tmp" not in str(refused.value)
    assert "too much memory" not in str(refused.value)


def test_hours_in_a_small_file_are_not_decoded() -> None:
    """Silence packs well: what is too long is known after half a minute of it."""
    hours = pack("m4a", np.zeros(RATE_HZ * 3600, np.float32))
    assert len(hours) < 10 * 1024**2
    start = time.process_time()  # what other programs take does not count
    with pytest.raises(UserError, match="the limit is 30 s"):
        read_packed(hours, "mov", "audio_sample")
    assert time.process_time() - start < 5


def test_damage_is_told_and_nothing_else_happens() -> None:
    chance, refused = random.Random(7), []
    for kind in ("m4a", "webm", "aac", "mkv"):
        whole = pack(kind)
        for _ in range(25):
            content = bytearray(whole)
            for _ in range(chance.randint(1, 60)):
                content[chance.randrange(12, len(content))] = chance.randrange(256)
            name = reader_of(bytes(content))
            assert name is not None
            try:
                assert np.isfinite(read_packed(bytes(content), name, "audio_sample").mono).all()
            except UserError as error:
                refused.append(str(error))
    assert refused
    assert all(message.startswith("audio_sample: ") for message in refused)


def test_only_files_that_libsndfile_does_not_read_are_packed() -> None:
    assert reader_of(wav(SPEECH)) is None
    assert reader_of(b"ID3\x04" + bytes(20)) is None
    assert reader_of(b"\xff\xfb\x90" + bytes(20)) is None, "an MP3"
    known = {av.codec.Codec(name, "r").name for name in DECODERS}
    assert known == set(DECODERS)
