"""The words that start a command: its console script, or `python -m`."""

from __future__ import annotations

import sys

import pytest

from commands.arguments import command_parser
from commands.interruption import format_command
from commands.launch import script_name, started_as


@pytest.mark.parametrize(
    ("module", "script"),
    [
        ("runtime.tts", "slm-tts"),
        ("runtime.gpu_check", "slm-gpu-check"),
        ("export.build", "slm-export"),
        ("calibration.codec", "slm-calibrate-codec"),
        ("evaluation.learning_curve", "slm-evaluate-learning-curve"),
        ("benchmarks.rows", None),
        ("samples.demo_voice.compare", None),
    ],
)
def test_names_of_scripts(module: str, script: str | None) -> None:
    assert script_name(module) == script


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("/venv/bin/slm-tts", "slm-tts"),
        ("slm-tts.exe", "slm-tts"),
        ("/clone/runtime/tts.py", "python -m runtime.tts"),
        ("/venv/bin/slm-chat", "python -m runtime.tts"),  # another command, which calls this one
        ("", "python -m runtime.tts"),
    ],
)
def test_messages_name_what_was_started(
    program: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--play"])
    assert started_as("runtime.tts") == words
    assert format_command("runtime.tts", None) == f"{words} --play"
    assert format_command("runtime.tts", []) == words
    parser = command_parser("runtime.tts", "Speak.")
    assert parser.module == "runtime.tts"
    assert parser.format_usage().startswith(f"usage: {words} [-h]")
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--loud"])
    assert capsys.readouterr().err.endswith(f"; see {words} --help\n")
