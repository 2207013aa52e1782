"""The Python of docs/runtime.md and docs/chat.md runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.runtime.tiny_bundle import Scenario, rewrite_manifest, write_bundle

DOCS = Path(__file__).parents[2] / "docs"
TALKATIVE = Scenario(heads=12, codes_a=range(200), frames_per_token=100.0)
ANSWERS = Scenario(codes_a=range(60), writes=" It is. aloud <sosp>")


@pytest.mark.parametrize(
    ("page", "engine", "scenario", "printed"),
    [
        ("runtime.md", "engine", TALKATIVE, "seconds; "),
        ("chat.md", "engine-chat", ANSWERS, "It is. "),
    ],
)
def test_python_examples(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    page: str,
    engine: str,
    scenario: Scenario,
    printed: str,
) -> None:
    write_bundle(tmp_path / engine, scenario)
    rewrite_manifest(
        tmp_path / engine, voices={"anna": "voices/plain.safetensors"}, default_voice="anna"
    )
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, page, "exec"), {})
    assert printed in capsys.readouterr().out
