"""Finding recordings in both forms of folder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from commands.errors import UserError
from train.data.recording_folders import check_names, parse_folder
from train.data.recordings import explain_missing, find_recordings


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


def test_blank_lines_and_a_byte_order_mark_say_nothing(tmp_path: Path) -> None:
    content = '\ufeff\n{"file": "1.wav", "text": "\ufeffOne."}\r\n\n  \n{"file": "2.wav"}\n\n'
    (tmp_path / "metadata.jsonl").write_text(content, encoding="utf-8", newline="")
    first, second = find_recordings(tmp_path)
    assert (first.uttid, first.text, second.uttid) == ("1", "One.", "2")


def test_line_separators_stand_within_texts(tmp_path: Path) -> None:
    text = "One.\u2028Two.\u2029Three.\x85Four.\x1cFive."
    line = json.dumps({"file": "1.wav", "text": text}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(line + "\n", encoding="utf-8")
    assert find_recordings(tmp_path)[0].text == text


def test_metadata_in_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    lines = '{"file": "1.wav", "text": "Plain."}\n{"file": "2.wav", "text": "Café."}\n'
    for encoding, found in (("latin-1", "WINDOWS-1252"), ("utf-16", "UTF-16")):
        path.write_bytes(lines.encode(encoding))
        number = 2 if encoding == "latin-1" else 1
        message = f"line {number}: is not UTF-8 .*iconv -f {found} -t UTF-8 "
        with pytest.raises(UserError, match=message):
            find_recordings(tmp_path)


def test_texts_lose_their_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "1.wav").touch()
    (tmp_path / "1.txt").write_bytes("Über uns.\n".encode("utf-8-sig"))
    assert find_recordings(tmp_path)[0].text == "Über uns."


def test_a_text_in_another_encoding_stops_nothing(tmp_path: Path) -> None:
    for name, text in (("1", b"Plain."), ("2", "Über uns.".encode("latin-1"))):
        (tmp_path / f"{name}.wav").touch()
        (tmp_path / f"{name}.txt").write_bytes(text)
    first, second = find_recordings(tmp_path)
    assert (first.text, first.fault, second.text) == ("Plain.", None, None)
    assert second.fault is not None
    assert "2.txt, line 1: is not UTF-8 but probably WINDOWS-1252" in second.fault


def test_hidden_files_are_no_recordings(tmp_path: Path) -> None:
    """macOS writes `._x.wav` beside x.wav on other file systems; caches are hidden folders."""
    (tmp_path / ".cache").mkdir()
    for name in ("x.wav", "._x.wav", ".cache/y.wav", "._metadata.jsonl", ".cache/metadata.jsonl"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "x.txt").write_text("Mine.")
    assert [recording.text for recording in find_recordings(tmp_path)] == ["Mine."]


def test_folders_may_be_hidden_themselves(tmp_path: Path) -> None:
    (tmp_path / ".private").mkdir()
    (tmp_path / ".private" / "x.wav").touch()
    assert len(find_recordings(tmp_path / ".private")) == 1


def test_links_are_followed(tmp_path: Path) -> None:
    """To files, with metadata or without, and to folders; a link to a folder above ends there."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "corpus"
    for place in (elsewhere, folder):
        place.mkdir()
    (elsewhere / "x.wav").touch()
    (folder / "one.wav").symlink_to(elsewhere / "x.wav")
    (folder / "more").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder)
    paths = [recording.path for recording in find_recordings(folder)]
    assert paths == [folder / "more" / "x.wav", folder / "one.wav"]
    write_metadata(folder, {"file": "one.wav"}, {"file": "more/x.wav"})
    found = find_recordings(folder)
    assert [recording.path for recording in found] == [folder / "one.wav", folder / "more/x.wav"]
    assert [explain_missing(recording.path) for recording in found] == [None, None]


def test_links_to_nothing_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "x.wav").symlink_to("gone.wav")
    (found,) = find_recordings(tmp_path)
    assert "x.wav: is a link to gone.wav, which does not exist" in str(explain_missing(found.path))
    assert "in the metadata, but does not exist" in str(explain_missing(tmp_path / "y.wav"))


LJSPEECH = """\
LJ001-0001|Printing, in 1450,|Printing, in fourteen fifty,
LJ001-0002|He said "no".|

LJ001-0003|Only two columns.
"""


def test_ljspeech(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    (tmp_path / "metadata.csv").write_text(LJSPEECH, encoding="utf-8-sig", newline="\r\n")
    for name in ("wavs/LJ001-0001.wav", "LJ001-0002.flac"):
        (tmp_path / name).touch()
    one, two, three = find_recordings(tmp_path)
    assert (one.uttid, one.text) == ("LJ001-0001", "Printing, in fourteen fifty,")
    assert (two.path, two.text) == (tmp_path / "LJ001-0002.flac", 'He said "no".')
    assert (three.path, three.text) == (tmp_path / "wavs/LJ001-0003.wav", "Only two columns.")


@pytest.mark.parametrize("line", ["file,text", "a|b|c|d", "|text", "../x|text"])
def test_other_tables_are_not_ljspeech(tmp_path: Path, line: str) -> None:
    (tmp_path / "metadata.csv").write_text(f"x|y\n{line}\n")
    with pytest.raises(UserError, match=r"metadata.csv, line 2: (must be ID|'file' must lie)"):
        find_recordings(tmp_path)


def test_a_folder_is_described_once(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("x|y\n")
    write_metadata(tmp_path / "more", {"file": "1.wav"})
    assert [recording.uttid for recording in find_recordings(tmp_path)] == ["x", "1"]
    write_metadata(tmp_path, {"file": "1.wav"})
    with pytest.raises(UserError, match=r"holds both metadata.jsonl and metadata.csv"):
        find_recordings(tmp_path)


def test_names_begin_with_the_folders_where_they_are_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("anna", "bert/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0001.wav").touch()
    assert [r.uttid for r in find_recordings(tmp_path)] == ["anna-0001", "bert-a-0001"]
    assert "such as anna-0001" in capsys.readouterr().err
    assert [r.uttid for r in find_recordings(tmp_path / "anna")] == ["0001"]
    assert capsys.readouterr().err == ""


def test_folders_can_be_named(tmp_path: Path) -> None:
    for folder in ("anna", "b=c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0001.wav").touch()
    named = parse_folder(f"a={tmp_path / 'anna'}")
    assert [r.uttid for r in named.find()] == ["a-0001"]
    assert [r.uttid for r in parse_folder(str(tmp_path / "b=c")).find()] == ["0001"]
    check_names([*named.find(), *parse_folder(str(tmp_path / "anna")).find()])
    twice = [r for name in ("anna", "b=c") for r in find_recordings(tmp_path / name)]
    with pytest.raises(UserError, match=r"has the same name, '0001'; .*one=FOLDER two=FOLDER"):
        check_names(twice)
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be a file name"):
        parse_folder("a/b=folder")


def test_recordings_in_another_format_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.m4a").touch()
    with pytest.raises(UserError, match=r"but 1 such as x.m4a; convert them: ffmpeg -i x.m4a"):
        find_recordings(tmp_path)


def test_folders_without_recordings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_recordings(tmp_path / "nowhere")
    with pytest.raises(UserError, match="neither"):
        find_recordings(tmp_path)
