"""Workers on Ray make the same files. Skipped where Ray is not installed: it starts a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.batch import main
from tests.runtime.tiny_bundle import Scenario, write_bundle

pytest.importorskip("ray")


def test_a_local_cluster_makes_the_same_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = write_bundle(tmp_path / "engine", Scenario(codes_a=range(200)))
    table = tmp_path / "table.jsonl"
    rows = [{"id": number, "text": "Abc abcd. " * (1 + number % 4)} for number in range(40)]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["--engine", str(engine), "--input", str(table), "--output"]
    assert main([*line, str(tmp_path / "here")]) == 0
    assert main([*line, str(tmp_path / "there"), "--ray", "local", "--workers", "2"]) == 0
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / where).iterdir() if path.is_file()}
        for where in ("here", "there")
    )
    assert here == there
    assert len(here) == 41
    assert main([*line, str(tmp_path / "more"), "--ray", "local", "--voice", "nobody"]) == 2
    assert "no voice nobody" in capfd.readouterr().err
