"""What engines cost: which commands are measured, and the table of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import engine_costs
from benchmarks.engine_costs import Cost, Row, format_rows, measure_costs
from benchmarks.published_size import UTTERANCE_FRAMES, write_tokens
from calibration.measurement.utterances import HELD_OUT
from commands.errors import UserError
from formats.tokens import read_utterances

COST = Cost(12.3, 4.56)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have run; those that build leave plans of some sizes."""
    ran: list[list[str]] = []

    def run(*words: object) -> Cost:
        ran.append([str(word) for word in words])
        folder = Path(ran[-1][-1])
        folder.mkdir(exist_ok=True)
        for size, name in ((3_000_000, "backbone"), (1_000_000, "mtp_head")):
            (folder / f"{name}.plan").write_bytes(bytes(size))
        return COST

    monkeypatch.setattr(engine_costs, "_run", run)
    return ran


def test_each_stage_is_measured_and_engines_do_not_stay(
    commands: list[list[str]], tmp_path: Path
) -> None:
    (floats, quantized) = measure_costs(3, ["bf16", "fp8"], "basic", 89, tmp_path)
    assert floats == Row("bf16", None, COST, COST, 4.0, 3.0, 1.0)
    assert quantized == Row("fp8", COST, COST, COST, 4.0, 3.0, 1.0)
    assert [command[0] for command in commands] == [
        "benchmarks.published_size",
        *("export.build", "export.build"),
        *("calibration.run", "export.build", "export.build"),
    ]
    scales = str(tmp_path / "scales-basic-fp8")
    assert commands[3][-1] == scales
    assert commands[4][commands[4].index("--calibration") + 1] == scales
    assert commands[5][commands[5].index("--bundle") + 1] == commands[4][-1]
    assert commands[4][commands[4].index("--dialect") + 1] == "basic"
    assert not list(tmp_path.glob("engine-*"))
    assert not list(tmp_path.glob("basic-*"))


def test_checkpoints_that_are_there_are_taken(commands: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "tokens.jsonl").touch()
    measure_costs(3, ["fp16"], "portable", 89, tmp_path)
    assert [command[0] for command in commands] == ["export.build", "export.build"]


def test_the_table() -> None:
    rows = [Row("fp16", None, COST, Cost(34.4, 4.61), 2257.2, 1458.0, 6.0)]
    assert format_rows(rows).splitlines()[-1] == (
        "| fp16 | – | 12 s, 4.6 GB | 34 s, 4.6 GB | 2,257 MB | 1,458 MB | 6 MB |"
    )


def test_a_process_is_measured_and_its_failure_told(capfd: pytest.CaptureFixture[str]) -> None:
    cost = engine_costs._run("timeit", "-n", "1", "-r", "1", "b'x' * 50_000_000")
    assert cost.cpu_seconds > 0
    assert cost.peak_memory_gb > 0.05
    with pytest.raises(UserError, match="timeit failed; see above"):
        engine_costs._run("timeit", "--wrong")
    assert "$ python -m timeit" in capfd.readouterr().out


def test_the_random_speech_is_enough_to_calibrate_with(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens.jsonl", heads=6)
    utterances = list(read_utterances(tmp_path / "tokens.jsonl", heads=6))
    assert len(utterances) >= HELD_OUT
    assert {len(utterance.frames) for utterance in utterances} == {UTTERANCE_FRAMES}
