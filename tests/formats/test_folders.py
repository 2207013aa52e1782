"""Folders appear whole or not at all; what dead processes left is removed, and only that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.errors import UserError
from formats.files import folders, work_folders
from formats.files.folders import FolderKind, check_own_folder, publish_folder, unpublished_folder

KIND = FolderKind("set", "set.json")

# Begins to write engine/, says so, and waits.
WRITER = """
import sys, time
from pathlib import Path
from commands.run import run_cli
from formats.files.folders import FolderKind, unpublished_folder

def write(_):
    with unpublished_folder("engine", FolderKind("set", "set.json")) as folder:
        (folder / "half").write_text("written")
        print("writing", flush=True)
        time.sleep(60)

sys.exit(run_cli(write, None))
"""


def write_set(output: Path, content: str) -> None:
    assert KIND.mark is not None
    with unpublished_folder(output, KIND) as folder:
        (folder / "deep").mkdir()
        (folder / KIND.mark).write_text(content)
        (folder / "deep" / "file").write_text(content)
        publish_folder(folder, output, KIND)


def content_of(output: Path) -> list[str]:
    assert KIND.mark is not None
    return [(output / KIND.mark).read_text(), (output / "deep" / "file").read_text()]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing tmp_path/engine."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)
    write_set(tmp_path / "engine", "old")
    write_set(tmp_path / "engine", "new")
    assert content_of(tmp_path / "engine") == ["new", "new"]
    assert names_in(tmp_path) == ["engine"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows exchanges no folders")
def test_two_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not folders._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system exchanges no folders")
    assert (tmp_path / "one" / "file").read_text() == "other"
    assert (tmp_path / "other" / "file").read_text() == "one"
    assert not folders._exchange(tmp_path / "one", tmp_path / "missing")


def test_names_with_special_characters(tmp_path: Path) -> None:
    for name in ("engine[1]", "a*b", "ein Motor", ".hidden", "ü", os.fsdecode(b"\xe8")):
        write_set(tmp_path / name, "old")
        write_set(tmp_path / name, "new")
        assert content_of(tmp_path / name) == ["new", "new"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_told_to_end_leaves_nothing(
    tmp_path: Path, writer: subprocess.Popen[str], number: signal.Signals
) -> None:
    writer.send_signal(number)
    writer.communicate(timeout=60)
    assert writer.returncode == 128 + number
    assert names_in(tmp_path) == []


def test_what_a_killed_process_left_goes_with_the_next_run(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    writer.kill()
    writer.wait()
    assert len(names_in(tmp_path)) == 1
    write_set(tmp_path / "engine", "new")
    assert names_in(tmp_path) == ["engine"]


def test_what_another_process_is_writing_stays(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    being_written = names_in(tmp_path)
    write_set(tmp_path / "engine", "mine")
    assert names_in(tmp_path) == [*being_written, "engine"]
    assert (tmp_path / being_written[0] / "new" / "half").read_text() == "written"


def test_folders_of_other_names_stay(tmp_path: Path) -> None:
    others = [".engine.unfinished-", ".engine.unfinished-x.unfinished-abcdefgh", ".engine2"]
    for name in others:
        (tmp_path / name).mkdir()
    write_set(tmp_path / "engine", "new")
    assert names_in(tmp_path) == sorted([*others, "engine"])


def test_a_swap_that_was_cut_off_is_undone_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies between the two renames of systems that exchange no folders."""
    output = tmp_path / "engine"
    write_set(output, "old")
    code = f"""
import os
from pathlib import Path
from formats.files import folders
from tests.formats.test_folders import write_set
folders._exchange = lambda *_: False
Path.rename = lambda path, target: (os.rename(path, target), os._exit(9))
write_set(Path({str(output)!r}), "new")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 9
    assert not output.exists()

    def check_and_stop() -> None:
        with unpublished_folder(output, KIND):
            assert content_of(output) == ["old", "old"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_and_stop()
    assert content_of(output) == ["old", "old"]
    assert names_in(tmp_path) == ["engine"]


def test_an_owner_whose_folder_was_taken_for_abandoned_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run sees the work folder before its lock is held."""
    try_lock, attempts = work_folders.try_lock, []

    def too_late(path: Path) -> object:
        attempts.append(path)
        if len(attempts) == 1:
            monkeypatch.setattr(work_folders, "try_lock", try_lock)
            work_folders.clear_abandoned(tmp_path / "engine")
            monkeypatch.setattr(work_folders, "try_lock", too_late)
        return try_lock(path)

    monkeypatch.setattr(work_folders, "try_lock", too_late)
    write_set(tmp_path / "engine", "new")
    assert len(attempts) == 2
    assert content_of(tmp_path / "engine") == ["new", "new"]
    assert names_in(tmp_path) == ["engine"]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_folders, "try_lock", lambda _: None)
    write_set(tmp_path / "engine", "old")
    write_set(tmp_path / "engine", "new")
    assert content_of(tmp_path / "engine") == ["new", "new"]


def test_what_has_no_mark_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no set \(no set\.json\), so it is not replaced"):
        write_set(tmp_path, "new")
    (tmp_path / "one").mkdir()
    with (
        pytest.raises(UserError, match="one: exists, so it is not replaced"),
        unpublished_folder(tmp_path / "one", FolderKind("folder that is always new")),
    ):
        pytest.fail("the work must not begin")


def test_modes_are_those_of_the_users_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_set(tmp_path / "engine", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "engine").stat().st_mode & 0o777 == 0o750


def test_new_empty_and_own_folders_may_be_written_into(tmp_path: Path) -> None:
    own, other, file = tmp_path / "own", tmp_path / "other", tmp_path / "file"
    check_own_folder(own, "set", "set.json")
    own.mkdir()
    check_own_folder(own, "set", "set.json")
    (own / "set.json").touch()
    check_own_folder(own, "set", "set.json")
    file.touch()
    other.mkdir()
    (other / "manifest.json").touch()
    for path in (file, other):
        with pytest.raises(UserError, match=r"exists and is no set \(it has no set.json\)"):
            check_own_folder(path, "set", "set.json")
