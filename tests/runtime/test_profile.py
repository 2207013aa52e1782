"""`python -m runtime.profile`: the figures are there, are consistent, and are written whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.errors import UserError
from runtime.profile import main
from runtime.profiling.measuring import ProfileOptions
from runtime.profiling.report import read_report
from tests.runtime.tiny_bundle import Scenario, write_bundle


def measure(engine: Path, *arguments: str) -> int:
    return main(["--engine", str(engine), "--threads", "1", "--text", "Abc.", *arguments])


def test_figures(plain_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    options = ("--runs", "3", "--warmup", "2", "--json", str(path))
    assert measure(plain_folder, *options, "--contexts", "8", "16", "--rows", "2") == 0
    report = read_report(path)
    [subject] = report.subjects
    stages = {stage.name: stage for stage in subject.stages}
    counts = {name: stage.seconds.count for name, stage in stages.items()}
    assert counts["prefill"] == 3
    assert counts["head"] == 3 * 13, "12 steps of speech and the one that stops"
    assert counts["step"] == 3 * 12
    assert counts["codec_chunk"] >= 3
    assert subject.audio_seconds == pytest.approx(12 * 4 / 16_000)
    for figures in (*(stage.seconds for stage in stages.values()), subject.first_audio):
        assert 0 < figures.p50 <= figures.p95 <= figures.p99
    assert subject.real_time_factor.count == 3
    assert [point.context for point in subject.contexts] == [8, 16]
    assert [point.rows for point in subject.rows] == [2]
    assert subject.peak_bytes is not None
    assert subject.peak_bytes > 10 * 2**20
    assert subject.threads == 1
    assert report.limits[0].read_bytes_per_second
    assert os.listdir(tmp_path) == ["figures.json"]
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == f"wrote {path}"
    for row in ("first audio, ms", "real-time factor", "prefill, ms", "codec_chunk, ms"):
        assert row in printed.out


def test_sums_hold(plain_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert measure(plain_folder, "--json", str(path)) == 0
    [subject] = read_report(path).subjects
    parts = subject.first_audio_parts
    assert sum(parts.values()) == pytest.approx(subject.timeline.first_audio)
    assert sum(parts.values()) == pytest.approx(subject.first_audio.p50)
    assert subject.outside_stages is not None
    shares = sum(stage.share for stage in subject.stages) + subject.outside_stages
    assert shares == pytest.approx(1.0)
    spans = sum(span.seconds for span in subject.timeline.spans)
    assert spans < subject.timeline.seconds


def test_bundles_take_turns_and_a_report_is_shown_again(
    plain_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_bundle(tmp_path / "other", Scenario(codes_a=range(40)))
    path = tmp_path / "figures.json"
    assert measure(plain_folder, "--against", str(other), "--runs", "2", "--json", str(path)) == 0
    report = read_report(path)
    assert [subject.label for subject in report.subjects] == [plain_folder.name, "other"]
    assert {found.other for found in report.comparisons} == {"other"}
    assert "seconds of audio" in {found.figure for found in report.comparisons}
    printed = capsys.readouterr().out
    for comparison in report.comparisons:
        assert comparison.sentence in printed
    assert main(["--report", str(path)]) == 0
    assert capsys.readouterr().out == printed


def test_several_numbers_of_threads_are_subjects(plain_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    options = ("--threads", "1", "2", "--runs", "1", "--warmup", "0", "--json", str(path))
    assert main(["--engine", str(plain_folder), "--text", "Abc.", *options]) == 0
    labels = [subject.label for subject in read_report(path).subjects]
    assert labels == [f"{plain_folder.name}, 1 thread", f"{plain_folder.name}, 2 threads"]


def test_next_token_models_have_the_same_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = write_bundle(tmp_path / "engine", Scenario(kind="ntp"))
    assert measure(engine, "--runs", "1") == 0
    assert "head, ms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"{}", "is no report of version 1 (it says 0)"),
        (b"x", "is no report of version 1"),
        (b'{"schema_version": 99}', "is no report of version 1 (it says 99)"),
        (b'{"schema_version": 1, "command": 3}', "not a report of runtime.profile"),
        (b"[" * 100_000, "is no report"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, complaint: str
) -> None:
    (tmp_path / "report.json").write_bytes(content)
    assert main(["--report", str(tmp_path / "report.json")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert complaint in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--json", "/nowhere/figures.json"), "no folder /nowhere"),
        (("--text", " "), "the text is empty"),
    ],
)
def test_mistakes_are_one_line(
    plain_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    assert measure(plain_folder, *arguments) == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("runs", "warmup"), [(0, 1), (1, -1)])
def test_counts_of_runs(runs: int, warmup: int) -> None:
    with pytest.raises(UserError, match="--runs takes 1 or more, --warmup 0 or more"):
        ProfileOptions(("engine",), runs=runs, warmup=warmup)


def test_a_model_that_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure(write_bundle(tmp_path / "engine", Scenario(codes_a=()))) == 2
    assert "the model said nothing" in capsys.readouterr().err
