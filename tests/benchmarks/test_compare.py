"""Which figures changed between two reports, and what the command says and returns."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compare import main
from benchmarks.regressions import compare_reports, count_verdicts, disturbance, reasons_against
from runtime.profiling.report import Point, Report, write_report
from tests.benchmarks.made_up_report import changed, report, stage, subject, summary, timeline

TOLERANCE = 0.03


def verdicts(old: Report, new: Report) -> dict[str, str]:
    """Of all figures that are not the same."""
    changes = compare_reports(old, new, TOLERANCE)
    return {change.figure: change.verdict for change in changes if change.verdict != "same"}


def sentences(old: Report, new: Report) -> list[str]:
    return [one.sentence for one in compare_reports(old, new, TOLERANCE) if one.sentence]


def test_two_milliseconds_more_for_a_step_are_found() -> None:
    new = changed(report(), stages=(stage("whole_step", 0.012), stage("codec_chunk", 0.030)))
    assert verdicts(report(), new) == {"whole_step": "slower"}
    assert sentences(report(), new) == [
        "native: whole step takes 2 ms longer: 10.000 ms, then 12.000 ms (+20 %)."
    ]


def test_smaller_chunks_are_heard_earlier_and_cost_more() -> None:
    new = changed(
        report(),
        first_audio=summary(0.15),
        real_time_factor=summary(0.5),
        timeline=timeline((5, 10, 15, 20, 40, 60)),
    )
    assert verdicts(report(), new) == {
        "first audio": "faster",
        "real-time factor": "slower",
        "chunks of the utterance": "other",
        "frames of the first chunk": "other",
    }
    assert sentences(report(), new) == [
        "native: the first audio comes 100 ms earlier: 250.000 ms, then 150.000 ms (-40 %).",
        "native: a second of speech takes 100 ms more: 0.4000, then 0.5000 (+25 %).",
        "native: chunks of the utterance: 4, then 6.",
        "native: frames of the first chunk: 10, then 5.",
    ]


def test_noise_alone_is_no_change() -> None:
    """Medians differ by a tenth, and so do their intervals, which overlap."""
    new = changed(report(), first_audio=summary(0.275, noise=0.15))
    assert verdicts(report(), new) == {}


def test_a_change_within_the_tolerance_is_none() -> None:
    new = changed(report(), first_audio=summary(0.2549, noise=0.001))
    assert new.subjects[0].first_audio.low > report().subjects[0].first_audio.high
    assert verdicts(report(), new) == {}
    assert count_verdicts(compare_reports(report(), new, 0.01))["slower"] == 1


def test_a_change_within_what_the_machine_did_is_noise() -> None:
    noise = msgspec.structs.replace(report().noise, slowest_clock=0.8)
    old, new = report(noise=noise), changed(report(), first_audio=summary(0.30))
    assert verdicts(old, new) == {"first audio": "noise"}
    assert sentences(old, new) == []
    assert verdicts(old, changed(report(), first_audio=summary(0.33))) == {"first audio": "slower"}
    assert verdicts(changed(report(), first_audio=summary(0.33)), old) == {"first audio": "faster"}


def test_others_disturb_who_wants_their_processors() -> None:
    noise = msgspec.structs.replace(report().noise, others_share=0.25, slowest_clock=1.0)
    disturbed = report(noise=noise)
    assert disturbance(disturbed, threads=1) == 0.0, "a processor and a half were enough"
    assert disturbance(disturbed, threads=2) == 0.25
    unknown = msgspec.structs.replace(noise, others_share=None, slowest_clock=0.5)
    assert disturbance(report(noise=unknown), threads=1) == 1.0


@given(st.floats(0.5, 2.0), st.floats(0.0, 0.2))
def test_what_is_slower_one_way_is_faster_the_other_way(ratio: float, noise: float) -> None:
    new = changed(report(), first_audio=summary(0.25 * ratio, noise))
    there, back = (
        verdicts(*pair).get("first audio") for pair in ((report(), new), (new, report()))
    )
    opposite = {"slower": "faster", "faster": "slower", None: None}
    if abs(ratio - 1) > 2 * TOLERANCE:
        assert back == opposite[there]
    if ratio == 1:
        assert there is None


def test_contexts_and_rows_are_compared_by_their_size() -> None:
    old = changed(
        report(),
        contexts=(Point(context=256, rows=1, seconds=summary(0.010)),),
        rows=(Point(context=64, rows=16, seconds=summary(0.030)),),
    )
    new = changed(
        old,
        contexts=(
            Point(context=256, rows=1, seconds=summary(0.012)),
            Point(context=2048, rows=1, seconds=summary(0.020)),
        ),
        rows=(Point(context=64, rows=16, seconds=summary(0.020)),),
    )
    assert verdicts(old, new) == {"step after 256 positions": "slower", "step of 16 rows": "faster"}


def test_bundles_are_paired_by_their_labels() -> None:
    native, other = subject(), subject(label="onnxruntime", kind="onnxruntime")
    slower = msgspec.structs.replace(other, first_audio=summary(0.5))
    changes = compare_reports(report(native, other), report(slower, native), TOLERANCE)
    assert [one.subject for one in changes if one.verdict == "slower"] == ["onnxruntime"]
    assert reasons_against(report(native, other), report(native)) == [
        "only one of them has 'onnxruntime'"
    ]


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (changed(report(), bundle_sha256="f" * 64), "another bundle (000000000000, then ffffffff"),
        (changed(report(), threads=1), "native: another threads (2, then 1)"),
        (changed(report(), precision="int4"), "native: another precision (int8, then int4)"),
        (report(text="Yes."), "another text"),
    ],
)
def test_other_bundles_and_texts_are_not_comparable(new: Report, reason: str) -> None:
    [said] = reasons_against(report(), new)
    assert reason in said


def test_another_machine_is_not_comparable_and_other_memory_is() -> None:
    machine = msgspec.structs.replace(report().machine, processor="Cortex-A76", memory_bytes=None)
    [said] = reasons_against(report(), report(machine=machine))
    assert said == "another machine (processor AMD EPYC 9654, then Cortex-A76)"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "old.json", tmp_path / "new.json"


def compare(files: tuple[Path, Path], old: Report, new: Report, *options: str) -> int:
    for path, one in zip(files, (old, new), strict=True):
        write_report(path, one)
    return main([*map(str, files), *options])


def test_the_exit_status_says_slower(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    slow = changed(report(), first_audio=summary(0.5))
    assert compare(files, report(), report()) == 0
    assert "Nothing has changed beyond noise.\n" in capsys.readouterr().out
    assert compare(files, report(), slow) == 1
    assert "first audio comes 250 ms later" in capsys.readouterr().out
    assert compare(files, slow, report()) == 0
    assert compare(files, report(), slow, "--tolerance", "1.5") == 0


def test_what_cannot_be_compared_is_refused_and_forced(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = changed(report(), bundle_sha256="f" * 64, first_audio=summary(0.5))
    assert compare(files, report(), other) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "not comparable: native: another bundle" in error
    assert compare(files, report(), other, "--force") == 1
    assert "note: compared nevertheless: native: another bundle" in capsys.readouterr().out


def test_another_schema_is_refused(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_report(files[0], report())
    files[1].write_text('{"schema_version": 99}')
    assert main([*map(str, files)]) == 2
    assert "new.json: is no report of version 1 (it says 99)" in capsys.readouterr().err


def test_disturbances_and_versions_are_remarks(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    noise = msgspec.structs.replace(
        report().noise, warnings=("Others took a processor.",), slowest_clock=0.5
    )
    machine = msgspec.structs.replace(report().machine, packages={"numpy": "2.4.0"})
    new = changed(report(noise=noise, machine=machine), first_audio=summary(0.4))
    assert compare(files, report(), new) == 0
    said = capsys.readouterr().out
    assert "note: numpy 2.3.1, then 2.4.0\n" in said
    assert "note: new report: Others took a processor.\n" in said
    assert "note: figures that changed no more than the machine: 1; measure both again\n" in said
