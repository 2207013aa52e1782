"""The folder of a batch: what is there is whole and known, wherever the work was cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands.errors import UserError
from runtime.batching import output_folder
from runtime.batching.output_folder import JOURNAL_FILE, WORK_FOLDER, OutputFolder
from runtime.batching.results import Job, Spoken

JOBS = [Job(name, f"Text {name}.", None, 1) for name in ("b", "a", "c")]
STEMS = {job.id: job.id for job in JOBS}


def keep_all(folder: Path) -> None:
    with OutputFolder(folder, {"seed": 1}, "wav") as output:
        for job in output.resume(JOBS, STEMS):
            output.keep(job, Spoken(job.id, job.id.encode(), 1.5, True, warnings=("w",)))
        output.write_manifest(job.id for job in JOBS)


def left(folder: Path, jobs: list[Job] = JOBS) -> list[str]:
    with OutputFolder(folder, {"seed": 1}, "wav") as output:
        return [job.id for job in output.resume(jobs, STEMS)]


def read_manifest(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_the_manifest_names_all_in_order(tmp_path: Path) -> None:
    keep_all(tmp_path / "out")
    rows = read_manifest(tmp_path / "out")
    assert [row["id"] for row in rows] == ["b", "a", "c"]
    assert rows[0] == {
        "id": "b",
        "text": "Text b.",
        "voice": None,
        "seed": 1,
        "file": "b.wav",
        "seconds": 1.5,
        "finished": True,
        "sha256": "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d",
        "error": None,
        "warnings": ["w"],
    }
    assert not left(tmp_path / "out")


def test_a_file_that_is_gone_damaged_or_of_another_text_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    keep_all(folder)
    (folder / "a.wav").unlink()
    (folder / "b.wav").write_bytes(b"cut")
    changed = [*JOBS[:2], Job("c", "Another.", None, 1)]
    assert left(folder, changed) == ["b", "a", "c"]
    keep_all(folder)
    assert not left(folder)


def test_failed_rows_are_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with OutputFolder(folder, {"seed": 1}, "wav") as output:
        job, *_ = output.resume(JOBS, STEMS)
        output.keep(job, Spoken(job.id, error="why"))
        output.write_manifest(STEMS)
    [row] = read_manifest(folder)
    assert (row["file"], row["sha256"], row["error"]) == (None, None, "why")
    assert left(folder) == ["b", "a", "c"]


@pytest.mark.parametrize("cut_bytes", [1, 30, 100])
def test_a_journal_that_was_cut_costs_its_last_row_only(tmp_path: Path, cut_bytes: int) -> None:
    folder = tmp_path / "out"
    keep_all(folder)
    journal = folder / WORK_FOLDER / JOURNAL_FILE
    journal.write_bytes(journal.read_bytes()[:-cut_bytes])
    assert left(folder) == ([] if cut_bytes == 1 else ["c"])
    keep_all(folder)
    assert not left(folder)


def test_a_kill_before_the_rename_repeats_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with OutputFolder(tmp_path / "out", {"seed": 1}, "wav") as output:
        output.resume(JOBS, STEMS)
        monkeypatch.setattr(output_folder, "flush", die)
        with pytest.raises(KeyboardInterrupt):
            output.keep(JOBS[0], Spoken("b", b"b"))
    monkeypatch.undo()
    assert left(tmp_path / "out") == ["b", "a", "c"]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    keep_all(tmp_path / "out")
    with (
        pytest.raises(UserError, match="was begun with another seed; give the same command"),
        OutputFolder(tmp_path / "out", {"seed": 2}, "wav"),
    ):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.wav").touch()
    for name, said in (("mine", "holds other files"), ("mine/a.wav", "is a file; name a folder")):
        with (
            pytest.raises(UserError, match=said),
            OutputFolder(tmp_path / name, {"seed": 2}, "wav"),
        ):
            pass


def test_settings_are_free_until_a_file_is_made(tmp_path: Path) -> None:
    for seed in (1, 2):
        with OutputFolder(tmp_path / "out", {"seed": seed}, "wav") as output:
            output.resume(JOBS, STEMS)
    with OutputFolder(tmp_path / "out", {"seed": 1}, "wav") as output:
        job, *_ = output.resume(JOBS, STEMS)
        output.keep(job, Spoken(job.id, b"b"))
    with (
        pytest.raises(UserError, match="was begun with another seed"),
        OutputFolder(tmp_path / "out", {"seed": 2}, "wav"),
    ):
        pass


def test_two_at_a_time_are_refused(tmp_path: Path) -> None:
    with (
        OutputFolder(tmp_path / "out", {"seed": 1}, "wav"),
        pytest.raises(UserError, match="another process is filling it"),
        OutputFolder(tmp_path / "out", {"seed": 1}, "wav"),
    ):
        pass
