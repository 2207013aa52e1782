"""`python -m runtime.profile`: the figures are there, are consistent, and are written whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from commands.errors import UserError
from runtime.profile import main
from runtime.speed import SpeedOptions, percentiles
from tests.runtime.tiny_bundle import Scenario, write_bundle


def measure(engine: Path, *arguments: str) -> int:
    return main(["--engine", str(engine), "--threads", "1", "--text", "Abc.", *arguments])


def test_figures(plain_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    options = ("--runs", "3", "--warmup", "2", "--json", str(path))
    assert measure(plain_folder, *options) == 0
    report = json.loads(path.read_text())
    counts = {name: figures["count"] for name, figures in report["stages_ms"].items()}
    assert counts["prefill"] == 3
    assert counts["head"] == 3 * 13, "12 steps of speech and the one that stops"
    assert counts["step"] == 3 * 12
    assert counts["codec_chunk"] >= 3
    assert report["audio_seconds"] == pytest.approx(12 * 4 / 16_000)
    for figures in (*report["stages_ms"].values(), report["time_to_first_audio_ms"]):
        assert 0 < figures["p50"] <= figures["p95"] <= figures["p99"]
    assert report["real_time_factor"]["count"] == 3
    assert 0 < report["share_outside_graphs"] < 1
    assert report["peak_memory_mb"] > 10
    assert os.listdir(tmp_path) == ["figures.json"]
    printed = capsys.readouterr()
    assert printed.err == f"wrote {path}\n"
    table = printed.out
    for row in ("first audio, ms", "real-time factor", "prefill, ms", "codec_chunk, ms"):
        assert row in table


def test_next_token_models_have_the_same_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = write_bundle(tmp_path / "engine", Scenario(kind="ntp"))
    assert measure(engine, "--runs", "1") == 0
    assert "head, ms" in capsys.readouterr().out


def test_percentiles() -> None:
    figures = percentiles([0.001 * value for value in range(1, 101)], scale=1e3)
    assert figures == pytest.approx(
        {"count": 100, "mean": 50.5, "p50": 50.5, "p95": 95.05, "p99": 99.01}
    )


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
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert complaint in errors[0]


@pytest.mark.parametrize(("runs", "warmup"), [(0, 1), (1, -1)])
def test_counts_of_runs(runs: int, warmup: int) -> None:
    with pytest.raises(UserError, match="--runs takes 1 or more, --warmup 0 or more"):
        SpeedOptions("engine", runs=runs, warmup=warmup)


def test_a_model_that_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure(write_bundle(tmp_path / "engine", Scenario(codes_a=()))) == 2
    assert "the model said nothing" in capsys.readouterr().err
