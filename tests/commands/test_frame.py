"""Every command has one frame: a parser, a function that does the work, and `main`."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_command

ROOT = Path(__file__).parents[2]
PACKAGES = ("runtime", "train", "export", "calibration", "evaluation", "benchmarks", "samples")
LONG = (  # commands that can be stopped and go on
    *("train.align", "train.prepare", "train.predict", "train.codec", "train.lm"),
    *("runtime.batch", "benchmarks.serving.soak"),
    *("evaluation.speech", "evaluation.answers", "evaluation.learning_curve"),
    *("samples.demo_voice.synthesize", "samples.demo_voice.compare"),
)
HEAVY = ("torch", "transformers", "onnx", "onnxruntime", "scipy", "matplotlib")


def find_commands() -> list[str]:
    """All but workers, which other programs start in environments of their own."""
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files
        if "\nif __name__ ==" in path.read_text(encoding="utf-8")
        and not path.stem.endswith("_worker")
    ]


COMMANDS = find_commands()


def test_the_commands_are_found() -> None:
    assert {"runtime.tts", "train.lm", "evaluation.speech", "samples.demo_voice.compare"} <= {
        *COMMANDS
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_three_functions(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    parser = module.make_parser()
    assert isinstance(parser, CommandParser)
    assert parser.module == name
    assert parser.description
    assert callable(module.run)
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])
    assert f"usage: python -m {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", LONG)
def test_a_long_command_can_be_stopped_and_says_that_it_goes_on(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(name).main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--max-minutes MINUTES" in said
    assert "the same command goes on where it stopped" in said


def test_parsers_are_made_without_heavy_packages() -> None:
    """Those of benchmarks that import their subject at the top say so with `importing()`."""
    late = [name for name in COMMANDS if not name.startswith("benchmarks.")]
    program = (
        "import importlib, sys\n"
        f"for name in {late}:\n"
        "    importlib.import_module(name).make_parser()\n"
        f"    loaded = [heavy for heavy in {HEAVY} if heavy in sys.modules]\n"
        "    assert not loaded, (name, loaded)\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr


def test_run_gets_what_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    def make_parser() -> CommandParser:
        parser = CommandParser(prog="python -m runtime.example")
        parser.add_argument("text")
        return parser

    def run(arguments: argparse.Namespace) -> None:
        raise UserError(f"{arguments.text}; go on with: {arguments.command_line}")

    assert run_command(make_parser, run, ["two words"]) == 2
    said = capsys.readouterr().err
    assert said == "error: two words; go on with: python -m runtime.example 'two words'\n"
