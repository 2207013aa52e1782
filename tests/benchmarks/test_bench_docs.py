"""The pages on measuring say commands that exist, and a job that a runner could run."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from runtime.speech.schedule import ChunkSchedule

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / name for name in ("how-fast.md", "devices.md", "profiling.md")]
MODEL = "MINE="  # the variable that a page sets


def blocks(page: Path, language: str) -> list[str]:
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The words of every `python -m`, with the page's variable in its place."""
    found, mine = [], ""
    inline = re.findall(r"`(python -m [^`]+)`", page.read_text("utf-8"))
    for block in [*blocks(page, "sh"), *inline]:
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(MODEL):
                mine = shlex.split(line.removeprefix(MODEL))[0]
            words = shlex.split(line.replace("$MINE", mine), comments=True)
            if words[1:2] == ["-m"] and words[0].endswith("python"):
                found.append(words[2:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one(page: Path) -> None:
    found = [words for words in commands(page) if words[1:] and "OLD" not in words]
    assert found
    for module, *words in found:
        importlib.import_module(module).make_parser().parse_args(words)


def test_the_schedule_of_the_page_is_one() -> None:
    [numbers] = re.findall(r"ChunkSchedule\(([^)]*)\)", PAGES[0].read_text("utf-8"))
    first, growth, longest = numbers.split(", ")
    ChunkSchedule(int(first), float(growth), int(longest))


def test_the_job_measures_keeps_and_compares(tmp_path: Path) -> None:
    [block] = blocks(PAGES[2], "yaml")
    [job] = yaml.safe_load(block)["jobs"].values()
    scripts = [step["run"] for step in job["steps"] if "run" in step]
    assert scripts[0] == "make bench"
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    [kept] = [step["with"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert kept["path"] == "bench.json"
    assert f"--name {kept['name']} --dir last" in scripts[1]


@pytest.mark.parametrize(("status", "passes"), [(0, True), (1, False), (2, True)])
def test_only_a_slower_report_fails_the_job(tmp_path: Path, status: int, passes: bool) -> None:
    [block] = blocks(PAGES[2], "yaml")
    [job] = yaml.safe_load(block)["jobs"].values()
    script = job["steps"][-1]["run"]
    shell = ["bash", "-e", "-c", script]  # as runners start it
    assert subprocess.run(shell, cwd=tmp_path).returncode == 0, "the first night"
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "bench.json").touch()
    program = tmp_path / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nexit {status}\n")
    program.chmod(0o755)
    assert (subprocess.run(shell, cwd=tmp_path).returncode == 0) == passes
