"""Recordings to token files: both forms of folder, trimming, alignment, what is left out."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from formats.checkpoint.codec_config import MelConfig
from formats.tokens import read_utterances
from runtime.audio.conditioning import condition_speech
from runtime.audio.sound import convert_sound, read_recording
from tests.speech_like import speak
from tests.tiny_codec import make_codec_checkpoint
from train import prepare
from train.codec_model.checkpoint import load_codec
from train.data import quality, token_preparation, utterance_preparation
from train.data.tokenization import find_speech, trim_counts

SAMPLE_RATE_HZ = 16_000

HOP = 200
FRAMES = 40  # of every aligned recording
PHONEMES = "hˈI."
SYMBOL_FRAMES = [10, 3, 0, 12, 5, 10]
SIZES: dict[str, Any] = {
    "mel": MelConfig(bins=11),
    "decoder_ratios": (5, 5, 4, 2),
    "encoder_ratios": (2, 4, 5, 5),
    "decoder_channels": 16,
    "encoder_channels": 2,
}


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_codec_checkpoint(tmp_path_factory.mktemp("codec"), **SIZES)


def speech(frames: int, silence: int, seed: int) -> np.ndarray:
    """Noise between two silences of `silence` frames."""
    audio = np.zeros(frames * HOP, np.float32)
    loud = slice(silence * HOP, (frames - silence) * HOP)
    audio[loud] = 0.3 * np.random.default_rng(seed).standard_normal(len(audio[loud]))
    return np.clip(audio, -1, 1)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three aligned recordings of two speakers, and a file that is no audio."""
    folder = tmp_path / "corpus" / "shard"
    folder.mkdir(parents=True)
    lines = []
    for index in range(3):
        soundfile.write(folder / f"{index}.flac", speech(FRAMES, 10, index), SAMPLE_RATE_HZ)
        lines.append(
            {
                "file": f"{index}.flac",
                "uttid": f"u{index}",
                "text": "Hi.",
                "speaker": "anna" if index else "bert",
                "phonemes": PHONEMES,
                "symbol_frames": SYMBOL_FRAMES,
            }
        )
    (folder / "broken.flac").write_bytes(b"fLaC nothing")
    lines.insert(1, {"file": "broken.flac", "text": "Lost."})
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return tmp_path / "corpus"


def run(codec: Path, audio: Path, output: Path, *options: str) -> int:
    paths = [str(audio), "--codec", str(codec), "--output", str(output)]
    return prepare.main([*paths, *options])


def test_token_files_of_a_corpus(
    codec: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tokens"
    assert run(codec, corpus, output, "--heads", "1", "6", "--frontend", "hibari") == 0
    errors = capsys.readouterr().err
    assert "broken.flac" in errors
    assert "1 of 4 recordings left out" in errors
    written = {path.name for path in output.iterdir()}
    assert written == {"h6.jsonl", "ntp.jsonl", "speakers", "voices"}
    ntp, streams = (
        list(read_utterances(output / f"{n}.jsonl", h)) for n, h in (("ntp", 1), ("h6", 6))
    )
    assert [utterance.uttid for utterance in ntp] == ["u0", "u1", "u2"]
    for one, other in zip(ntp, streams, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        assert (one.text, one.sentence) == (PHONEMES, "Hi.")
        assert one.symbol_frames == (4, 3, 0, 12, 5, 6)  # 10 frames of silence, trimmed


def test_frames_are_those_of_the_codec(codec: Path, corpus: Path, tmp_path: Path) -> None:
    """Also in a batch of recordings of equal length, and of the whole recording, then trimmed."""
    output = tmp_path / "tokens"
    assert run(codec, corpus, output, "--heads", "1", "--no-trim") == 0
    model = load_codec(codec)
    for index, utterance in enumerate(read_utterances(output / "ntp.jsonl", 1)):
        audio = read_recording(corpus / "shard" / f"{index}.flac", rate_hz=SAMPLE_RATE_HZ)
        with torch.no_grad():
            frames, speaker = model.encode(torch.from_numpy(audio)[None])
        np.testing.assert_array_equal(utterance.frames, frames[0].numpy())
        assert utterance.spk_emb_path == f"speakers/u{index}.safetensors"
        stored = load_file(output / utterance.spk_emb_path)["speaker"]
        np.testing.assert_allclose(stored, speaker[0].numpy(), atol=1e-5)
        assert utterance.text == "Hi."
        assert utterance.symbol_frames is None  # durations belong to phonemes


def test_speakers_are_of_the_speech_alone(codec: Path, tmp_path: Path) -> None:
    """As at run time; recordings of other lengths and levels do not change each other."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    spoken = {"plain": speak(), "other": speak(pitch_hz=200.0)}
    spoken["padded"] = np.pad(0.1 * spoken["plain"], 20_000)
    for name, audio in spoken.items():
        soundfile.write(folder / f"{name}.wav", audio, SAMPLE_RATE_HZ, subtype="FLOAT")
        (folder / f"{name}.txt").write_text("Hi.")
    assert run(codec, folder, tmp_path / "out", "--heads", "3") == 0
    model = load_codec(codec)
    for name, audio in spoken.items():
        sound = convert_sound(audio, SAMPLE_RATE_HZ)
        speech = torch.from_numpy(condition_speech(sound, SAMPLE_RATE_HZ))
        with torch.no_grad():
            expected = model.encode(speech[None])[1][0].numpy()
        stored = load_file(tmp_path / "out" / "speakers" / f"{name}.safetensors")["speaker"]
        np.testing.assert_allclose(stored, expected, atol=1e-5)


def test_durations_of_spelling(codec: Path, corpus: Path, tmp_path: Path) -> None:
    """They belong to the text only where it is the spelling that the model reads."""
    metadata = corpus / "shard" / "metadata.jsonl"
    line = {"file": "0.flac", "uttid": "u0", "text": "Hi.", "symbol_frames": [10, 3, 12, 5, 10]}
    metadata.write_text(json.dumps(line))
    for frontend, counts in (("none", (4, 3, 12, 5, 6)), ("hibari", None)):
        output = tmp_path / frontend
        assert run(codec, corpus, output, "--heads", "3", "--frontend", frontend) == 0
        (utterance,) = read_utterances(output / "h3.jsonl", 3)
        assert utterance.symbol_frames == counts
        assert (utterance.text == "Hi.") == (frontend == "none")


def test_embeddings_are_means_per_speaker(codec: Path, corpus: Path, tmp_path: Path) -> None:
    each, mean = tmp_path / "each", tmp_path / "mean"
    run(codec, corpus, each, "--heads", "3")
    run(codec, corpus, mean, "--heads", "3", "--embeddings", "speaker")
    stored = {path.stem: load_file(path)["speaker"] for path in each.glob("speakers/*")}
    means = {path.stem: load_file(path)["speaker"] for path in mean.glob("speakers/*")}
    voices = {path.stem: load_file(path)["speaker"] for path in each.glob("voices/*")}
    assert {name: v.tolist() for name, v in voices.items()} == {
        name: v.tolist() for name, v in means.items()
    }
    np.testing.assert_allclose(means["bert"], stored["u0"], atol=1e-6)
    np.testing.assert_allclose(means["anna"], (stored["u1"] + stored["u2"]) / 2, atol=1e-6)
    paths = [u.spk_emb_path for u in read_utterances(mean / "h3.jsonl", 3)]
    assert paths == [f"speakers/{name}.safetensors" for name in ("bert", "anna", "anna")]


def test_libritts_tree(codec: Path, recordings: Path, tmp_path: Path) -> None:
    assert run(codec, recordings, tmp_path / "out", "--heads", "3", "--embeddings", "none") == 0
    utterances = list(read_utterances(tmp_path / "out" / "h3.jsonl", 3))
    texts = ["They know it.", "We read the letter twice.", "Is the door open?"]
    assert [utterance.text for utterance in utterances] == texts
    assert all(utterance.spk_emb_path is None for utterance in utterances)


def test_an_interrupted_run_goes_on(
    codec: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_preparation, "RECORDINGS_PER_PART", 1)
    tokenize_part = token_preparation.tokenize_part
    seen: list[str] = []

    def interrupted(recordings: Sequence[Any], *rest: Any) -> Any:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(recordings[0].uttid)
        return tokenize_part(recordings, *rest)

    monkeypatch.setattr(token_preparation, "tokenize_part", interrupted)
    output = tmp_path / "tokens"
    assert run(codec, corpus, output, "--heads", "3") == 130
    assert not (output / "h3.jsonl").exists()
    assert run(codec, corpus, output, "--heads", "3", "--no-trim") == 2  # other options
    seen.clear()
    monkeypatch.setattr(token_preparation, "tokenize_part", tokenize_part)
    assert run(codec, corpus, output, "--heads", "3") == 0
    run(codec, corpus, tmp_path / "whole", "--heads", "3")
    assert (output / "h3.jsonl").read_text() == (tmp_path / "whole" / "h3.jsonl").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_is_done(
    codec: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    """Also within a part: what was tokenized before the signal is not done again."""
    tokenized: list[str] = []
    describe = utterance_preparation.describe_utterance

    def interrupted(found: Any, *rest: Any) -> Any:
        tokenized.append(found.recording.uttid)
        if len(tokenized) == 1:
            os.kill(os.getpid(), number)
        return describe(found, *rest)

    monkeypatch.setattr(utterance_preparation, "describe_utterance", interrupted)
    monkeypatch.setattr("train.data.tokenization._LARGEST_BATCH_SECONDS", 0)  # one at a time
    output = tmp_path / "tokens"
    if number == signal.SIGINT:
        assert run(codec, corpus, output, "--heads", "3") == 130
    else:
        with pytest.raises(SystemExit, match="143"):
            run(codec, corpus, output, "--heads", "3")
    said = capsys.readouterr().err
    assert "parts keeps what is done; go on with: python -m train.prepare" in said
    assert "--heads 3" in said
    assert sorted(path.name for path in output.rglob("*.*")) == ["000000.unfinished", "inputs.json"]
    assert run(codec, corpus, output, "--heads", "3") == 0
    assert sorted(tokenized) == ["u0", "u1", "u2"]
    assert "1 of 4 recordings left out" in capsys.readouterr().err
    run(codec, corpus, tmp_path / "whole", "--heads", "3")
    assert (output / "h3.jsonl").read_text() == (tmp_path / "whole" / "h3.jsonl").read_text()
    assert signal.getsignal(number) is not signal.SIG_DFL or number == signal.SIGTERM


def test_texts_of_which_nothing_is_left_are_dropped(
    codec: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the frontend, or from the beginning; a model would learn to speak from nothing."""
    lines = [
        {"file": "0.flac", "uttid": "u0", "text": "你好。"},
        {"file": "1.flac", "uttid": "u1", "text": "Hi."},
        {"file": "2.flac", "uttid": "u2", "text": " … "},
    ]
    (corpus / "shard" / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    for frontend, kept in (("hibari", ["u1"]), ("none", ["u0", "u1"])):
        output = tmp_path / frontend
        assert run(codec, corpus, output, "--heads", "3", "--frontend", frontend) == 0
        assert [u.uttid for u in read_utterances(output / "h3.jsonl", 3)] == kept
        said = capsys.readouterr().err
        assert f"{3 - len(kept)} of 3 recordings left out" in said
        assert "2.flac: nothing to say is left of its text" in said
        assert ("cannot read '你好'" in said) == (frontend == "hibari")


def test_faulty_recordings_stop_nothing_and_are_listed_at_the_end(
    codec: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = corpus / "shard"
    almost_silent = np.zeros(8001, np.float32)
    almost_silent[-1] = 0.5  # beyond the last whole frame
    soundfile.write(shard / "silent.wav", almost_silent, SAMPLE_RATE_HZ)
    (shard / "link.wav").symlink_to("nowhere.wav")
    (shard / "folder.wav").mkdir()
    (shard / "._0.wav").write_bytes(b"\0\5\x16\7")
    for name in ("silent.wav", "link.wav", "gone.wav", "folder.wav"):
        with (shard / "metadata.jsonl").open("a") as lines:
            lines.write("\n" + json.dumps({"file": name, "text": "Hi."}))
    output = tmp_path / "tokens"
    assert run(codec, corpus, output, "--heads", "3") == 0
    said = capsys.readouterr()
    assert [u.uttid for u in read_utterances(output / "h3.jsonl", 3)] == ["u0", "u1", "u2"]
    *reasons, count = said.err[said.err.index("left out:") :].strip().splitlines()
    assert count == "5 of 8 recordings left out"
    named = ("broken.flac", "silent.wav", "link.wav", "gone.wav", "folder.wav")
    assert all(any(name in reason for reason in reasons) for name in named)
    assert any("link to nowhere.wav" in reason for reason in reasons)
    assert "next: python -m train.lm" in said.out


def test_strict_writes_no_tokens_and_goes_on_when_mended(
    codec: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_preparation, "RECORDINGS_PER_PART", 1)
    output = tmp_path / "tokens"
    assert run(codec, corpus, output, "--heads", "3", "--strict") == 2
    said = capsys.readouterr().err
    assert "left out: " in said
    assert "--strict: 1 recordings cannot be used, such as " in said
    assert not list(output.glob("*.jsonl"))
    assert len(list((output / "parts").glob("*.npz"))) == 3  # all but the broken one's
    shard = corpus / "shard"
    (shard / "broken.flac").write_bytes((shard / "0.flac").read_bytes())
    assert run(codec, corpus, output, "--heads", "3", "--strict") == 0
    assert len(list(read_utterances(output / "h3.jsonl", 3))) == 4


def test_strict_sees_before_the_work_what_needs_no_audio(
    codec: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (corpus / "shard" / "metadata.jsonl").open("a") as lines:
        lines.write("\n" + json.dumps({"file": "gone.wav", "text": "Hi."}))
    output = tmp_path / "tokens"
    assert run(codec, corpus, output, "--heads", "3", "--strict") == 2
    assert "gone.wav: is in the metadata, but does not exist" in capsys.readouterr().err
    assert not output.exists()


def test_a_mistyped_codec_leaves_nothing_behind(
    codec: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tokens"
    assert run(tmp_path / "codek", corpus, output, "--heads", "3") == 2
    assert "holds no codec" in capsys.readouterr().err
    assert not output.exists()
    assert run(codec, corpus, output, "--heads", "3") == 0


def test_recordings_that_are_named_alike(codec: Path, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "tokens"
    both = [f"one={corpus}", f"two={corpus}", "--codec", str(codec), "--output", str(output)]
    assert prepare.main([*both, "--heads", "3"]) == 0
    names = [u.uttid for u in read_utterances(output / "h3.jsonl", 3)]
    assert names == [f"{folder}-u{n}" for folder in ("one", "two") for n in range(3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--heads", "4"), "multiple of 3"),
        (("--heads", "3", "--device", "abacus"), "--device 'abacus' cannot be used"),
        (("--heads", "3", "--min-seconds", "20"), "no recording could be used"),
    ],
)
def test_mistakes_are_one_line(
    codec: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: Sequence[str],
    message: str,
) -> None:
    assert run(codec, corpus, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err


def test_two_recordings_of_one_name_are_refused(
    codec: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [str(corpus), str(corpus), "--codec", str(codec), "--output", str(tmp_path / "out")]
    assert prepare.main([*twice, "--heads", "3"]) == 2
    assert "has the same name, 'u0'" in capsys.readouterr().err


def test_speech_keeps_a_little_silence() -> None:
    assert find_speech(speech(50, 12, seed=0), HOP, SAMPLE_RATE_HZ) == (8, 44)
    assert find_speech(speech(50, 1, seed=0), HOP, SAMPLE_RATE_HZ) == (0, 50)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(0, 100), st.integers(0, 100)
)
def test_trimmed_counts_add_up(counts: list[int], one: int, other: int) -> None:
    total = sum(counts)
    first, last = sorted((min(one, total), min(other, total)))
    kept = trim_counts(counts, first, last)
    assert len(kept) == len(counts)
    symbols = np.repeat(np.arange(len(counts)), counts)[first:last]
    np.testing.assert_array_equal(np.repeat(np.arange(len(counts)), kept), symbols)


def test_recordings_of_low_quality_are_left_out(
    codec: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = iter([3.6, 2.0, 3.5])
    monkeypatch.setattr(quality, "score_dnsmos", lambda audio: {"ovrl": next(scores)})
    output = tmp_path / "tokens"
    assert run(codec, corpus, output, "--heads", "3", "--min-dnsmos", "3.5") == 0
    assert [u.uttid for u in read_utterances(output / "h3.jsonl", 3)] == ["u0", "u2"]
    assert "DNSMOS 2.00 is below 3.5" in capsys.readouterr().err


def test_dnsmos_scores_lie_on_their_scale() -> None:
    pytest.importorskip("speechmos")
    scores = quality.score_dnsmos(speech(160, 20, seed=0))
    assert sorted(scores) == ["bak", "ovrl", "p808", "sig"]
    assert all(1 <= score <= 5 for score in scores.values())
