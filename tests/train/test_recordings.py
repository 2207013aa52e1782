"""Finding recordings in both forms of folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.errors import UserError
from train.recordings import find_recordings


def write_metadata(folder: Path, *lines: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def test_metadata_files_are_found_anywhere(tmp_path: Path) -> None:
    write_metadata(tmp_path / "b", {"file": "2.wav"})
    write_metadata(
        tmp_path / "a" / "deep",
        {
            "file": "1.flac",
            "uttid": "u1",
            "text": "Hi.",
            "speaker": "anna",
            "phonemes": "hˈI.",
            "symbol_frames": [3, 0, 1, 4, 2, 5],
        },
    )
    first, second = find_recordings(tmp_path)
    assert first.path == tmp_path / "a" / "deep" / "1.flac"
    assert (first.uttid, first.text, first.speaker) == ("u1", "Hi.", "anna")
    assert first.symbol_frames == (3, 0, 1, 4, 2, 5)
    assert (second.uttid, second.text, second.symbol_frames) == ("2", None, None)


def test_durations_of_spelling(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"file": "1.wav", "text": "Hi.", "symbol_frames": [3, 1, 4, 2, 5]})
    assert find_recordings(tmp_path)[0].symbol_frames == (3, 1, 4, 2, 5)


def test_libritts_trees(tmp_path: Path) -> None:
    folder = tmp_path / "7635" / "105409"
    folder.mkdir(parents=True)
    for name in ("7635_105409_000061_000002", "other"):
        (folder / f"{name}.wav").touch()
    (folder / "7635_105409_000061_000002.normalized.txt").write_text("They know it.\n")
    (folder / "7635_105409_000061_000002.original.txt").write_text("They know IT.\n")
    (folder / "other.txt").write_text("Another one.")
    first, second = find_recordings(tmp_path)
    assert (first.text, first.speaker) == ("They know it.", "7635")
    assert (second.text, second.speaker) == ("Another one.", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "key 'file'"),
        ({"text": "x"}, "key 'file'"),
        ({"file": "../secret.wav"}, "beside the metadata"),
        ({"file": "/etc/passwd"}, "beside the metadata"),
        ({"file": "1.wav", "text": 3}, "key 'text'"),
        ({"file": "1.wav", "phonemes": "ab", "symbol_frames": [1, 2, 3]}, "2 phonemes"),
        ({"file": "1.wav", "text": "abc", "symbol_frames": [1, 2, 3]}, "3 characters"),
        ({"file": "1.wav", "symbol_frames": [1, -2]}, "frame counts"),
    ],
)
def test_bad_metadata_names_its_line(tmp_path: Path, line: object, message: str) -> None:
    write_metadata(tmp_path, {"file": "0.wav"}, line)
    with pytest.raises(UserError, match=f"line 2: .*{message}"):
        find_recordings(tmp_path)


def test_metadata_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text("{")
    with pytest.raises(UserError, match="line 1"):
        find_recordings(tmp_path)


def test_folders_without_recordings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_recordings(tmp_path / "nowhere")
    with pytest.raises(UserError, match="neither"):
        find_recordings(tmp_path)
