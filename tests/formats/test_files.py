"""Files appear whole or not at all, whatever they replace."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from commands.errors import UserError
from formats.files.atomic import (
    check_target,
    replacing,
    replacing_files,
    require_two_files,
    require_unicode_path,
    write_atomically,
)
from runtime.audio.sound import read_recording


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", b"old")
    write_atomically(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left")])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_changes_nothing(
    tmp_path: Path, failure: BaseException, old: bytes | None
) -> None:
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_bytes(old)

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"ne")
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert names_in(tmp_path) == ([] if old is None else ["a.txt"])
    assert old is None or path.read_bytes() == old


def test_files_that_name_each_other_appear_together(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"old")

    def write(second: bytes | None) -> None:
        with replacing_files(tmp_path, ["a.data", "a.onnx"]) as work:
            (work / "a.data").write_bytes(b"1")
            if second is None:
                raise OSError(28, "No space left")
            (work / "a.onnx").write_bytes(second)

    with pytest.raises(OSError, match="No space"):
        write(None)
    assert names_in(tmp_path) == ["a.onnx"]
    write(b"2")
    assert names_in(tmp_path) == ["a.data", "a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == b"2"


def test_what_a_killed_process_left_goes_with_the_next_run(tmp_path: Path) -> None:
    code = """
import os
from formats.files.atomic import replacing
with replacing("a.txt") as partial:
    partial.write_bytes(b"half of it")
    os._exit(9)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert len(names_in(tmp_path)) == 1
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_bytes(b"all of it")
    assert (tmp_path / "a.txt").read_bytes() == b"all of it"
    assert names_in(tmp_path) == ["a.txt"]


def test_two_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as one, replacing(path) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
        write_atomically(path, b"third")
    assert path.read_bytes() == b"one"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["a" * 255, "a b'\"$.wav", "ü" * 127, "-o"])
def test_names_that_the_system_allows(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, b"sound")
    assert (tmp_path / name).read_bytes() == b"sound"
    assert names_in(tmp_path) == [name]


def test_a_private_partial_becomes_an_ordinary_file(tmp_path: Path) -> None:
    """safetensors lets nobody but the owner read what it writes."""
    with replacing(tmp_path / "a") as partial:
        partial.unlink()
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    (tmp_path / "a.wav").symlink_to("sounds/1.wav")
    write_atomically(tmp_path / "a.wav", b"sound")
    assert (tmp_path / "a.wav").is_symlink()
    assert (tmp_path / "sounds" / "1.wav").read_bytes() == b"sound"


def test_a_device_stays_one() -> None:
    write_atomically(os.devnull, b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    write_atomically(f"/dev/fd/{writing}", b"sound")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"sound"


def test_a_missing_folder_is_named_before_the_work(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"no folder .*gone; make it first"),
        replacing(tmp_path / "gone" / "a"),
    ):
        pytest.fail("nothing is to be written")


def test_a_link_into_a_missing_folder_is_told_before_the_work(tmp_path: Path) -> None:
    link = tmp_path / "out.wav"
    link.symlink_to(tmp_path / "gone" / "out.wav")
    with pytest.raises(UserError, match=rf"no folder {tmp_path}/gone; make it first"):
        check_target(link)
    (tmp_path / "gone").mkdir()
    check_target(link)


def test_the_same_file_is_not_written_twice(tmp_path: Path) -> None:
    file, link = tmp_path / "out.wav", tmp_path / "link.wav"
    link.symlink_to(file)
    for other in (file, link, tmp_path / "." / "out.wav", f"{tmp_path}/../{tmp_path.name}/out.wav"):
        with pytest.raises(UserError, match="are the same file"):
            require_two_files(file, other)
    require_two_files(file, tmp_path / "frames.json")
    require_two_files("/dev/null", "/dev/null")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name a file"):
        write_atomically(tmp_path, b"content")


def test_a_name_that_is_not_utf8_is_shown_as_its_bytes(tmp_path: Path) -> None:
    require_unicode_path(tmp_path / "café")
    with pytest.raises(UserError, match=r"/caf\\xe9/a: has a name that is not UTF-8; rename it"):
        require_unicode_path(tmp_path / os.fsdecode(b"caf\xe9") / "a")


def test_a_recording_with_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """libsndfile cannot open it."""
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"caf\\xe9\.wav: has a name that is not UTF-8; rename it"):
        read_recording(path, rate_hz=16_000)


def test_a_file_with_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    write_atomically(path, b"one")
    with replacing(path) as partial:
        partial.write_bytes(b"two")
    assert path.read_bytes() == b"two"
