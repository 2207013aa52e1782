"""The command: a folder with durations beside untouched recordings, and what it refuses."""

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

from runtime.audio.sound import SAMPLE_RATE_HZ
from train.align import main
from train.alignment import duration_search
from train.alignment.aligner import Aligner, AlignerTraining
from train.data.recordings import Recording, find_recordings

HOP = 200
KNOWN = [10, 3, 4, 12, 5, 6]  # of "hˈI."
SCRIPTS: Sequence[dict[str, object]] = (
    {"file": "0.flac", "uttid": "u0", "text": "Hi.", "phonemes": "hˈI.", "speaker": "anna"},
    {"file": "1.flac", "uttid": "u1", "text": "Hi.", "phonemes": "hˈI.", "symbol_frames": KNOWN},
    {"file": "2.flac", "uttid": "u2", "text": " Oh, hi! "},
    {"file": "3.flac", "uttid": "u3"},
    {"file": "4.flac", "uttid": "u4", "text": "Too long for the audio. " * 3},
    {"file": "5.flac", "uttid": "u5", "text": "Broken."},
)


def write_audio(path: Path, frames: int) -> None:
    audio = 0.3 * np.random.default_rng(frames).standard_normal(frames * HOP)
    audio[: 8 * HOP] = audio[-5 * HOP :] = 0
    soundfile.write(path, np.clip(audio, -1, 1), SAMPLE_RATE_HZ)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus" / "shard"
    folder.mkdir(parents=True)
    for index in range(5):
        write_audio(folder / f"{index}.flac", 40 + index * (index != 1))
    (folder / "5.flac").write_bytes(b"fLaC nothing")
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in SCRIPTS))
    return tmp_path / "corpus"


def by_name(folder: Path) -> dict[str, Recording]:
    return {recording.uttid: recording for recording in find_recordings(folder)}


def frames_of(recording: Recording) -> int:
    return int(soundfile.info(str(recording.path)).frames) // HOP


def test_a_folder_with_durations(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    output = tmp_path / "aligned"
    options = ["--frontend", "hibari", "--steps", "2", "--threads", "1"]
    assert main([str(corpus), "--output", str(output), *options]) == 0
    said = capsys.readouterr()
    assert "3 of 6 recordings with durations" in said.out
    assert "3.flac: has no text" in said.err
    assert "4.flac: 44 frames are too few" in said.err
    assert said.err.count("5.flac: ") == 1
    found = by_name(output)
    assert set(found) == {f"u{index}" for index in range(6)}
    for name in ("u0", "u2"):
        counts = found[name].symbol_frames
        assert counts is not None
        assert sum(counts) == frames_of(found[name])
        assert min(counts) >= 1
        assert found[name].path.samefile(corpus / "shard" / found[name].path.name)
    assert found["u1"].symbol_frames == tuple(KNOWN)  # kept
    assert (found["u0"].phonemes, found["u0"].speaker) == ("hˈI.", "anna")
    assert found["u2"].phonemes
    assert all(found[f"u{index}"].symbol_frames is None for index in (3, 4, 5))
    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.glob(".*"))


def test_spelling_runs_straight_through_the_speech(corpus: Path, tmp_path: Path) -> None:
    """8 frames of silence before and 5 after, of which the window blurs one."""
    output = tmp_path / "aligned"
    assert main([str(corpus), "--output", str(output), "--method", "diagonal"]) == 0
    found = by_name(output / "corpus")["u2"]
    assert (found.text, found.phonemes) == ("Oh, hi!", None)
    counts = found.symbol_frames
    assert counts is not None
    assert (len(counts), sum(counts)) == (2 + len("Oh, hi!"), 42)
    assert (counts[0], counts[-1]) == (7, 4)
    assert set(counts[1:-1]) == {4, 5}


def test_known_durations_are_replaced_when_asked(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "aligned"
    options = ["--frontend", "hibari", "--method", "diagonal", "--replace"]
    assert main([str(corpus), "--output", str(output), *options]) == 0
    assert by_name(output)["u1"].symbol_frames == (7, 7, 8, 7, 7, 4)


def test_libritts_trees_get_metadata(recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "aligned"
    assert main([str(recordings), "--output", str(output), "--method", "diagonal"]) == 0
    originals, aligned = by_name(recordings), by_name(output)
    assert set(originals) == set(aligned)
    for name, recording in aligned.items():
        assert recording.text == originals[name].text
        assert sum(recording.symbol_frames or ()) == frames_of(recording)


def test_comparison(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--compare", "--frontend", "hibari", "--steps", "2"]
    assert main([str(corpus), *options]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4
    assert [row.split()[1] for row in rows[2:]] == ["learned", "diagonal"]
    assert all(" 5 " in row for row in rows[2:])  # boundaries of one recording
    assert main([str(corpus), "--compare"]) == 2  # of the spelling none is known
    assert "no recording has durations" in capsys.readouterr().err


def test_a_run_that_was_cut_off_starts_again(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / ".aligned.unfinished-abcdefgh").mkdir()
    (tmp_path / ".aligned.unfinished-abcdefgh" / "rest").touch()
    (tmp_path / "aligned").mkdir()
    output = tmp_path / "aligned"
    assert main([str(corpus), "--output", str(output), "--method", "diagonal"]) == 0
    assert [path.name for path in output.iterdir()] == ["corpus"]
    assert not (tmp_path / ".aligned.unfinished-abcdefgh").exists()


@pytest.mark.parametrize("stage", ["learning", "aligning"])
def test_an_interrupted_run_goes_on(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
) -> None:
    """From the step or the recordings where it was; the durations are the same."""
    monkeypatch.setattr(duration_search, "RECORDINGS_PER_CHUNK", 1)
    options = ["--frontend", "hibari", "--steps", "6", "--threads", "1", "--replace"]
    assert main([str(corpus), "--output", str(tmp_path / "whole"), *options]) == 0
    owner, name = {
        "learning": (AlignerTraining, "_take_step"),
        "aligning": (Aligner, "align"),
    }[stage]
    work = getattr(owner, name)
    calls: list[None] = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return work(*arguments)

    monkeypatch.setattr(owner, name, interrupted)
    output = tmp_path / "aligned"
    assert main([str(corpus), "--output", str(output), *options]) == 130
    assert "keeps what is done; go on with: python -m train.align" in capsys.readouterr().err
    assert not output.exists()
    assert main([str(corpus), "--output", str(output), *options[:-1]]) == 2  # other options
    assert "was begun with another" in capsys.readouterr().err
    assert main([str(corpus), "--output", str(output), *options]) == 0
    assert len(calls) == (6 if stage == "learning" else 5)  # of one is no audio, one has no text
    assert by_name(output).keys() == by_name(tmp_path / "whole").keys()
    for uttid, recording in by_name(output).items():
        assert recording.symbol_frames == by_name(tmp_path / "whole")[uttid].symbol_frames
    assert not list(tmp_path.glob(".*"))


def test_folders_of_one_name_are_named(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other" / "corpus"
    other.parent.mkdir()
    other.symlink_to(corpus)
    output = tmp_path / "aligned"
    both = [f"one={corpus}", f"two={other}", "--output", str(output), "--method", "diagonal"]
    assert main(both) == 0
    assert {path.name for path in output.iterdir()} == {"one", "two"}
    assert "one-u2" in by_name(output / "one")
    assert "two-u2" in by_name(output / "two")
    said = capsys.readouterr().out
    assert f"next: python -m train.prepare {output / 'one'} {output / 'two'} --codec CODEC" in said


def test_texts_of_which_nothing_is_left_are_told(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"file": "0.flac", "uttid": "u0", "text": "你好。"}
    (corpus / "shard" / "metadata.jsonl").write_text(json.dumps(line))
    options = ["--output", str(tmp_path / "aligned"), "--frontend", "hibari"]
    assert main([str(corpus), *options]) == 0
    said = capsys.readouterr()
    assert "0.flac: cannot read '你好'" in said.err
    assert "0 of 1 recordings with durations" in said.out


def test_outputs_that_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: Path) -> str:
        assert main([*map(str, arguments[:-1]), "--output", str(arguments[-1])]) == 2
        return capsys.readouterr().err

    assert "exists; name another output" in refused(corpus, tmp_path / "corpus")
    assert "lies within the recordings" in refused(corpus, corpus / "aligned")
    assert "the same name" in refused(corpus, corpus, tmp_path / "aligned")
    assert "no such folder" in refused(tmp_path / "nowhere", tmp_path / "aligned")
    of_codec = Path(f"--codec={tmp_path / 'nowhere'}")
    assert "nowhere: holds no codec" in refused(corpus, of_codec, tmp_path / "aligned")
    assert not (tmp_path / "aligned").exists()


def test_a_file_that_is_described_twice(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (corpus / "shard" / "metadata.jsonl").open("a") as lines:
        lines.write("\n" + json.dumps(SCRIPTS[0] | {"text": "Again."}))
    assert main([str(corpus), "--output", str(tmp_path / "aligned")]) == 2
    assert "described twice" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--steps", "--learn-from", "--threads"])
def test_numbers_begin_at_one(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["corpus", "--output", "aligned", option, "0"])
    assert "whole number from 1" in capsys.readouterr().err
