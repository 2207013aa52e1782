"""The page of devices, the README's table and the picture: made from reports, and held to them."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks import devices
from benchmarks.device_page.bandwidths import DEVICES
from benchmarks.device_page.collection import Entry, keep_report, read_entries
from benchmarks.device_page.floors import least_real_time_factor
from benchmarks.device_page.page import (
    COMPUTED,
    MOST_README_ROWS,
    floor_tables,
    measured_table,
    readme_table,
    share_of_limit,
)
from benchmarks.device_page.picture import WIDTH, draw, make_panels
from benchmarks.devices import (
    GPU_PAGE,
    PAGE,
    PICTURE,
    README,
    REPORTS,
    ROOT,
    check_files,
    make_files,
)
from benchmarks.published_size import published_config
from commands.errors import UserError
from runtime.profiling.report import Report, read_report, write_report
from tests.benchmarks.made_up_report import changed, report, stage, subject, summary

SVG = "{http://www.w3.org/2000/svg}"
NAME = "epyc-2-threads-published-12-heads-int8"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the command writes, in another place."""
    for path in (PAGE, README, GPU_PAGE):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    (tmp_path / PICTURE).parent.mkdir(parents=True, exist_ok=True)
    return tmp_path


def keep(folder: Path, one: Report, name: str = NAME) -> Path:
    source = folder / "profile.json"
    write_report(source, one)
    return keep_report(source, folder / "reports", name)


def entry(one: Report, folder: Path) -> Entry:
    keep(folder, one)
    [found] = read_entries(folder / "reports")
    return found


def test_the_pages_are_what_the_reports_make() -> None:
    check_files(ROOT, REPORTS)


def test_another_figure_in_a_page_is_found(clone: Path) -> None:
    for path, content in make_files(clone, REPORTS).items():
        (clone / path).write_text(content, encoding="utf-8")
    check_files(clone, REPORTS)
    page = clone / PAGE
    page.write_text(page.read_text("utf-8").replace("| Raspberry Pi 5 | 17.1 |", "| Pi | 17 |"))
    with pytest.raises(UserError, match=r"docs/devices.md: is not what the reports make"):
        check_files(clone, REPORTS)


def test_a_lost_marker_is_named(clone: Path) -> None:
    text = (clone / README).read_text("utf-8").replace("<!-- reports: end -->", "")
    (clone / README).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"has no lines <!-- reports: begin -->"):
        make_files(clone, REPORTS)


def test_the_command_writes_and_checks(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(devices, "ROOT", clone)
    monkeypatch.setattr(devices, "REPORTS", clone / "reports")
    source = clone / "profile.json"
    write_report(source, report())
    assert devices.main(["--check"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert devices.main(["--keep", str(source), "--name", NAME]) == 0
    assert devices.main(["--check"]) == 0
    assert "| published size, 12 heads, int8, codec bf16 | epyc, 2 threads | 250 ms | 0.40 |" in (
        clone / README
    ).read_text("utf-8")


def test_kept_reports_are_small_and_name_no_folders(tmp_path: Path) -> None:
    path = keep(tmp_path, report())
    [kept] = read_report(path).subjects
    assert kept.timeline.spans == ()
    assert kept.folder == "engine"
    assert read_report(path).command == "profile --engine engine --json profile.json"
    assert kept.timeline.chunks == report().subjects[0].timeline.chunks


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Epyc-demo-int8", "is called by no rule"),
        ("epyc-int8", "is called by no rule"),
        ("epyc-1-thread-demo-int8", "says threads 1, the report 2"),
        ("epyc-demo-6-heads-int8", "says heads 6, the report 12"),
        ("epyc-demo-int4", "says precision int4, the report int8"),
    ],
)
def test_names_say_what_the_report_says(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        keep(tmp_path, report(), name)
    assert not (tmp_path / "reports").exists()


def test_a_name_has_its_parts(tmp_path: Path) -> None:
    keep(tmp_path, report(), "jetson-orin-nano-demo-int8")
    [found] = read_entries(tmp_path / "reports")
    assert (found.device, found.model) == ("jetson orin nano", "demo")


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.json").write_text("{}")
    with pytest.raises(UserError, match="is no report of version 1"):
        read_entries(tmp_path)


def test_a_step_and_its_limit_are_of_one_stage_or_of_two(tmp_path: Path) -> None:
    found = entry(report(), tmp_path)
    assert (found.step_seconds, found.least_step_seconds) == (0.010, 0.008)
    assert found.least_real_time_factor == 0.008 * 80 / 4
    assert share_of_limit(found) == "80 % (memory)"
    backbone, head = stage("step", 0.008, 0.004, "products"), stage("head", 0.002, 0.001, "memory")
    found = entry(changed(report(), stages=(head, backbone)), tmp_path)
    assert (found.step_seconds, found.least_step_seconds) == (0.010, 0.005)
    assert share_of_limit(found) == "50 % (products)"


def test_a_step_below_its_limit_is_explained(tmp_path: Path) -> None:
    found = entry(
        changed(report(), stages=(stage("whole_step", 0.004, 0.008, "memory"),)), tmp_path
    )
    assert share_of_limit(found) == "200 % (it stays in caches)"


def test_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    half = (stage("step", 0.008, 0.004, "memory"), stage("head", 0.002))
    found = entry(changed(report(), stages=half), tmp_path)
    assert found.least_step_seconds is None
    assert share_of_limit(found) == "–"
    none = entry(changed(report(), stages=(stage("codec_chunk", 0.008),)), tmp_path)
    assert none.step_seconds is None
    assert "–" in measured_table([none])


def test_the_table_of_the_readme_has_the_native_engine_only(tmp_path: Path) -> None:
    other = subject(label="onnxruntime", kind="onnxruntime", first_audio=summary(0.9))
    keep(tmp_path, report(subject(), other))
    entries = read_entries(tmp_path / "reports")
    assert len(entries) == 2
    table = readme_table(entries)
    assert table.count("\n") == 3
    assert "900 ms" not in table
    assert "900 ms" in measured_table(entries)
    assert readme_table(entries * 20).count("\n") == 2 + MOST_README_ROWS


def test_the_readme_says_that_a_machine_was_disturbed(tmp_path: Path) -> None:
    assert "beside other work" not in readme_table([entry(report(), tmp_path)])
    noise = msgspec.structs.replace(report().noise, warnings=("Others took a processor.",))
    assert "beside other work" in readme_table([entry(report(noise=noise), tmp_path)])


def test_memory_is_of_a_process_that_ran_one_bundle(tmp_path: Path) -> None:
    assert "286 MiB" in measured_table([entry(report(), tmp_path)])
    keep(tmp_path, report(subject(), subject(label="other")))
    assert "286 MiB" not in measured_table(read_entries(tmp_path / "reports"))


def test_noise_of_a_report_stands_below_the_table(tmp_path: Path) -> None:
    noise = msgspec.structs.replace(report().noise, warnings=("Others took a processor.",))
    keep(tmp_path, report(noise=noise))
    assert f"- `{NAME}.json`: Others took a processor.\n" in measured_table(
        read_entries(tmp_path / "reports")
    )


def test_floors_say_that_they_are_computed() -> None:
    tables = floor_tables()
    assert tables.count("| Raspberry Pi 5 |") == 2
    for table in tables.split("\n\n| device")[:-1]:
        assert COMPUTED in table.rpartition("\n\n")[2]
    seconds = 207_924_992 / 17.1e9
    factor = least_real_time_factor(seconds, published_config(12))
    assert factor == pytest.approx(seconds * 20)


def test_the_picture_is_an_svg_with_every_device(tmp_path: Path) -> None:
    keep(tmp_path, report())
    entries = read_entries(tmp_path / "reports")
    panels = make_panels(entries)
    picture = draw(panels)
    widths = [
        float(each.attrib["width"]) for each in ElementTree.fromstring(picture).iter(f"{SVG}rect")
    ]
    assert all(0 < width <= WIDTH for width in widths)
    assert len(widths) == 1 + sum(len(panel.bars) for panel in panels)
    for label in ("Computed, not measured", *(device.name for device in DEVICES)):
        assert label in picture
    assert "epyc, 2 thr., native: published 12, int8" in picture
    assert len(make_panels([])) == 1  # floors need no report
