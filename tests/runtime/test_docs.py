"""The Python of docs/runtime.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.runtime.tiny_bundle import Scenario, write_bundle

PAGE = Path(__file__).parents[2] / "docs" / "runtime.md"


def test_python_examples(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    talkative = Scenario(heads=12, codes_a=range(200), frames_per_token=100.0)
    write_bundle(tmp_path / "engine", talkative)
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), {})
    assert "seconds; " in capsys.readouterr().out
