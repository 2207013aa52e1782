"""Hastened speech: the first audio comes sooner, its end is an estimate, all else is exact."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from commands.errors import UserError
from runtime import TTS, Sampling
from runtime.audio.sound import to_pcm16
from runtime.bundle.names import MAX_CALL_FRAMES
from runtime.profile import main as profile
from runtime.profiling.report import read_report
from runtime.speech.codec import DecoderStream
from runtime.speech.schedule import ChunkSchedule, least_work, soon_heard
from runtime.speech.spoken import Chunk
from runtime.tts import main as speak
from tests.export.lm_exports import random_speaker

TEXT = "They know it."
FIRST = 6  # frames of the first chunk
Frames = NDArray[np.int64]


@pytest.fixture(scope="module")
def native(tiny_native_engine: Path) -> TTS:
    return TTS.load(tiny_native_engine, threads=1)


def speaker(tts: TTS) -> NDArray[np.float32]:
    return random_speaker()[: tts.codec.spec.speaker_channels]


def random_frames(tts: TTS, count: int) -> Frames:
    streams = tts.codec.spec.streams
    return np.random.default_rng(count).integers(0, streams, (count, len(streams)))


def hastened(look_ahead: int | None) -> ChunkSchedule:
    return ChunkSchedule(FIRST, 1.5, 20, look_ahead)


def hear(stream: DecoderStream, frames: Frames) -> Iterator[tuple[int, Chunk]]:
    """Chunks, and how many frames had been given when each came out."""
    for count in range(1, len(frames) + 1):
        stream.add(frames[count - 1 : count])
        yield from ((count, chunk) for chunk in stream.ready())
    yield from ((len(frames), chunk) for chunk in stream.finish())


def join(chunks: Iterator[Chunk] | list[Chunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.audio for chunk in chunks])


def some_look_aheads(tts: TTS) -> tuple[int, ...]:
    delay = tts.codec.spec.delay_frames
    assert delay > 6
    return 0, 1, 2, 6, delay - 1


def test_only_the_end_of_the_first_chunk_and_a_fade_are_estimates(native: TTS) -> None:
    spec, frames = native.codec.spec, random_frames(native, 120)
    exact = native.decode(frames, speaker(native)).reshape(len(frames), spec.hop_samples)
    for look_ahead in some_look_aheads(native):
        stream = DecoderStream(native.codec, speaker(native), hastened(look_ahead))
        chunks = [chunk for _, chunk in hear(stream, frames)]
        assert all(len(chunk.audio) == len(chunk.frames) * spec.hop_samples for chunk in chunks)
        np.testing.assert_array_equal(np.concatenate([c.frames for c in chunks]), frames)
        found = join(chunks).reshape(exact.shape)
        estimated = slice(max(0, FIRST + look_ahead - spec.delay_frames), FIRST + 1)
        np.testing.assert_array_equal(found[: estimated.start], exact[: estimated.start])
        np.testing.assert_array_equal(found[estimated.stop :], exact[estimated.stop :])
        if look_ahead < 3:  # the farthest frames may change no bit
            assert (found[estimated] != exact[estimated]).any()


def test_each_chunk_comes_as_soon_as_its_frames_are_there(native: TTS) -> None:
    delay, frames = native.codec.spec.delay_frames, random_frames(native, 120)
    for look_ahead in some_look_aheads(native):
        stream = DecoderStream(native.codec, speaker(native), hastened(look_ahead))
        given, chunks = zip(*hear(stream, frames), strict=True)
        sizes = [len(chunk.frames) for chunk in chunks]
        assert sizes[:4] == [FIRST, FIRST, int(1.5 * FIRST), int(1.5**2 * FIRST)]
        assert given[:3] == (FIRST + look_ahead, 2 * FIRST + delay, sum(sizes[:3]) + delay)
    exact = DecoderStream(native.codec, speaker(native), hastened(None))
    assert next(hear(exact, frames))[0] == FIRST + delay


def test_all_of_the_delay_gives_exact_audio(native: TTS) -> None:
    frames = random_frames(native, 60)
    stream = DecoderStream(native.codec, speaker(native), hastened(native.codec.spec.delay_frames))
    found = join([chunk for _, chunk in hear(stream, frames)])
    np.testing.assert_array_equal(found, native.decode(frames, speaker(native)))


@pytest.mark.parametrize("count", [0, 1, FIRST, FIRST + 1, FIRST + 2, FIRST + 3, 2 * FIRST + 2])
def test_short_speech_has_all_its_samples(native: TTS, count: int) -> None:
    """It is exact if it ends before the first chunk's frames are there."""
    frames, look_ahead = random_frames(native, count), 2
    whole = native.decode(frames, speaker(native))
    stream = DecoderStream(native.codec, speaker(native), hastened(look_ahead))
    found = join([chunk for _, chunk in hear(stream, frames)])
    assert found.shape == whole.shape
    if count < FIRST + look_ahead:
        np.testing.assert_array_equal(found, whole)
    else:
        behind = (FIRST + 1) * native.codec.spec.hop_samples
        assert (found != whole).any()
        np.testing.assert_array_equal(found[behind:], whole[behind:])


def test_frames_that_are_all_there_are_not_estimated(native: TTS) -> None:
    frames = random_frames(native, 90)
    stream = DecoderStream(native.codec, speaker(native), hastened(0))
    stream.add(frames)
    chunks = list(stream.finish())
    assert len(chunks) > 2
    np.testing.assert_array_equal(join(chunks), native.decode(frames, speaker(native)))


def test_hastened_and_exact_speech_side_by_side(native: TTS) -> None:
    all_frames = [random_frames(native, count) for count in (70, 81, 92)]
    schedules = [hastened(look_ahead) for look_ahead in (1, None, 4)]
    voice = speaker(native)
    alone = [
        join([chunk for _, chunk in hear(DecoderStream(native.codec, voice, schedule), frames)])
        for schedule, frames in zip(schedules, all_frames, strict=True)
    ]
    streams = [DecoderStream(native.codec, voice, schedule) for schedule in schedules]
    heard: list[list[Chunk]] = [[], [], []]
    for at in range(0, 92, 3):
        for stream, frames in zip(streams, all_frames, strict=True):
            stream.add(frames[at : at + 3])
        native.codec.start_due(streams)
        for chunks, stream in zip(heard, streams, strict=True):
            chunks += stream.ready()
    for chunks, stream, audio in zip(heard, streams, alone, strict=True):
        np.testing.assert_array_equal(join([*chunks, *stream.finish()]), audio)


def test_streams_of_text_hasten_their_first_sentence_only(native: TTS) -> None:
    text, sampling = f"{TEXT} We read the letter twice.", Sampling(seed=1)
    spec, schedule = native.codec.spec, hastened(2)
    whole = native.synthesize(text, voice="anna", sampling=sampling)
    chunks = list(native.stream(text, voice="anna", sampling=sampling, schedule=schedule))
    np.testing.assert_array_equal(np.concatenate([c.frames for c in chunks]), whole.frames)
    different = np.flatnonzero(join(chunks) != whole.audio)
    assert len(different) > 0
    assert different[-1] < (schedule.first_frames + 1) * spec.hop_samples
    sizes = [len(chunk.frames) for chunk in chunks if chunk.sentence == 2]
    assert sizes[1] == FIRST < sizes[2], "not as short again as a hastened one"


# Refusals.


def test_speech_for_nobody_is_never_hastened(native: TTS) -> None:
    assert least_work(native.codec.spec).look_ahead is None
    assert soon_heard(native.codec.spec).look_ahead is None


@pytest.mark.parametrize(
    ("look_ahead", "message"),
    [
        (-1, "a look-ahead of -1 frames is not possible; give 0 or more"),
        (-(2**70), "is not possible"),
    ],
)
def test_impossible_schedules_are_refused(look_ahead: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        hastened(look_ahead)


@pytest.mark.parametrize("more", [1, 2**40, 2**70])
def test_more_than_the_audio_depends_on_is_refused(native: TTS, more: int) -> None:
    delay = native.codec.spec.delay_frames
    schedule = hastened(delay + more)
    with pytest.raises(UserError, match=f"depends on {delay} later frames; give 0 to {delay}"):
        native.stream(TEXT, schedule=schedule)
    with pytest.raises(UserError, match=f"give 0 to {delay}"):
        DecoderStream(native.codec, speaker(native), schedule)


def test_a_hastened_chunk_is_one_call(native: TTS) -> None:
    longest = ChunkSchedule(MAX_CALL_FRAMES - 2, 1.0, MAX_CALL_FRAMES, look_ahead=2)
    frames = random_frames(native, 2 * MAX_CALL_FRAMES)
    stream = DecoderStream(native.codec, speaker(native), longest)
    count, chunk = next(hear(stream, frames))
    assert (count, len(chunk.frames)) == (MAX_CALL_FRAMES, MAX_CALL_FRAMES - 2)
    longer = replace(longest, first_frames=MAX_CALL_FRAMES - 1)
    with pytest.raises(UserError, match=f"together they may have {MAX_CALL_FRAMES}"):
        DecoderStream(native.codec, speaker(native), longer)


def test_other_engines_refuse(tts: TTS) -> None:
    with pytest.raises(UserError, match=r"engine has no look-ahead: .* --target native"):
        tts.stream(TEXT, schedule=replace(soon_heard(tts.codec.spec), look_ahead=0))


def test_commands_refuse_in_one_line(
    tiny_native_engine: Path,
    plain_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    native, other = str(tiny_native_engine), str(plain_folder)
    for command, engine, look_ahead, message in (
        (speak, native, "999", "give 0 to"),
        (speak, other, "2", "this bundle's engine has no look-ahead"),
        (profile, other, "2", "this bundle's engine has no look-ahead"),
        (profile, native, "99", "give 0 to"),
    ):
        words = ["--engine", engine, "--look-ahead", look_ahead]
        words += ["--text", TEXT] if command is profile else [TEXT, "--raw"]
        assert command(words) == 2
        printed = capsys.readouterr()
        assert message in printed.err.splitlines()[-1]
        assert printed.out == ""
    output = tmp_path / "out.wav"
    assert speak(["--engine", native, TEXT, "--look-ahead", "2", "-o", str(output)]) == 2
    assert "--look-ahead is for listeners" in capsys.readouterr().err
    assert not output.exists()
    for command in (speak, profile):
        with pytest.raises(SystemExit, match="2"):
            command(["--look-ahead", "-1"])
        assert "--look-ahead: must be a whole number from 0" in capsys.readouterr().err


# Commands.


def test_raw_speech_and_the_file_beside_it_are_hastened(
    native: TTS,
    tiny_native_engine: Path,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = FIRST / native.codec.spec.frames_per_second  # the tiny model's speech is short
    monkeypatch.setattr("runtime.speech.schedule.FIRST_SECONDS", few)
    output = tmp_path / "out.wav"
    words = ["--engine", str(tiny_native_engine), TEXT, "--voice", "anna", "--seed", "1"]
    assert speak([*words, "--raw", "--look-ahead", "2", "-o", str(output)]) == 0
    raw = capfdbinary.readouterr().out
    sampling, schedule = Sampling(seed=1), soon_heard(native.codec.spec, look_ahead=2)
    assert raw == b"".join(
        to_pcm16(c.audio)
        for c in native.stream(TEXT, voice="anna", sampling=sampling, schedule=schedule)
    )
    assert raw != to_pcm16(native.synthesize(TEXT, voice="anna", sampling=sampling).audio)
    assert output.read_bytes().endswith(raw)


def test_the_profile_says_with_what_look_ahead(tiny_native_engine: Path, tmp_path: Path) -> None:
    report = tmp_path / "profile.json"
    command = ["--engine", str(tiny_native_engine), "--text", TEXT, "--voice", "anna"]
    command += ["--runs", "1", "--max-steps", "20", "--json", str(report)]
    for options, look_ahead in (([], None), (["--look-ahead", "2"], 2)):
        assert profile([*command, *options]) == 0
        assert read_report(report).subjects[0].look_ahead == look_ahead
