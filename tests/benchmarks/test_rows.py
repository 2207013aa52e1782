"""`python -m benchmarks.rows`: a line for each number of rows, and refusals of one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rows import main
from tests.runtime.tiny_bundle import ROWS, Scenario, write_bundle


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("rows") / "engine"
    return str(write_bundle(folder, Scenario(codes_a=range(100))))


def test_a_line_for_each_number_of_rows(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--engine", engine, "--threads", "1", "--steps", "5", "--rounds", "2"]
    assert main([*options, "--rows", "1", "3"]) == 0
    head, rule, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("| rows |")
    assert rule.count("---") == head.count("|") - 1
    assert [line.split()[1] for line in lines] == ["1", "3"]
    assert lines[0].split()[-2] == "1.00"


def test_more_rows_than_the_engine_takes_are_one_line(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--engine", engine, "--rows", str(ROWS + 1)]) == 2
    assert f"takes 1 to {ROWS}" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("option", ["--rows", "--steps", "--rounds", "--threads"])
def test_counts_begin_at_one(engine: str, capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--engine", engine, option, "0"])
    [line] = capsys.readouterr().err.splitlines()
    assert f"argument {option}: must be a whole number from 1" in line
