"""What `make` hands on, finds out first and removes. Nothing is installed: programs stand in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INCLUDED = ("benchmarks", "samples/demo_voice", "samples/demo_chat")
MAKEFILES = ("Makefile", *(f"{folder}/Makefile" for folder in INCLUDED))
LATER = 4_102_444_800  # 2100: newer than every source
STAND_IN = f"""#!{sys.executable}
import json, sys
with open("calls.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(2 if "--find-gpu" in sys.argv else 0)
"""
TEXTS = (
    "It costs $5, or $$5.",
    "\"Don't\", she said; it's `touch pwned` and $(touch pwned).",
    "$(shell touch pwned) ${HOME} $(HOME) #1 100% \\n \\\\ & | > pwned",
    "-o is no option here",
    "--help",
    "Two\nlines.",
    "",
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The Makefiles and what they depend on, and a Python that only records its arguments."""
    folder = tmp_path / "clone"
    (folder / "runtime").mkdir(parents=True)
    sources = ("pyproject.toml", "requirements.lock", "commands/version.py")
    for file in (*MAKEFILES, *sources):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    write_stand_in(folder / "stand-in")
    return folder


def write_stand_in(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return path


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere"} | environment
    command = ["make", "--silent", f"PYTHON={folder / 'stand-in'}", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def calls(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("from_environment", [False, True])
def test_the_text_arrives_as_it_was_typed(clone: Path, text: str, from_environment: bool) -> None:
    write_stand_in(clone / ".venv-demo" / "bin" / "python")
    installed = clone / ".venv-demo" / "installed"
    installed.touch()
    os.utime(installed, (LATER, LATER))
    words, environment = ([], {"TEXT": text}) if from_environment else ([f"TEXT={text}"], {})
    done = make(clone, "demo", "HEADS=3", "TARGET=onnxruntime", *words, **environment)
    assert done.returncode == 0, done.stderr
    export, speak = calls(clone)[-2:]
    made = ["--target", "onnxruntime", "--heads", "3", "--output", "demo-engine"]
    assert export == ["-m", "export.build", *made]
    assert not any("native/build.py" in words for words in calls(clone))
    assert speak[:2] == ["-m", "runtime.tts"]
    assert speak[-2:] == ["--", text]
    assert not (clone / "pwned").exists()


@pytest.mark.parametrize("has_compiler", [True, False])
def test_the_demo_builds_the_library_first(clone: Path, has_compiler: bool) -> None:
    python = write_stand_in(clone / ".venv-demo" / "bin" / "python")
    if not has_compiler:
        python.write_text(python.read_text().replace("--find-gpu", "--find"))
    installed = clone / ".venv-demo" / "installed"
    installed.touch()
    os.utime(installed, (LATER, LATER))
    done = make(clone, "demo", "TEXT=One.")
    assert done.returncode == 0, done.stderr
    asked, *installs, built, exported, spoken = calls(clone)[1:]  # the first is about its version
    assert (asked, built) == (["native/build.py", "--find"], ["native/build.py"])
    assert exported[:4] == ["-m", "export.build", "--target", "native"]
    assert spoken[-1] == "One."
    packages = [words[-1].split("==")[0] for words in installs]
    assert packages == ([] if has_compiler else ["ziglang"])
    assert ("no C++ compiler is found" in done.stdout) != has_compiler


def test_what_the_documented_commands_leave_is_not_shown_as_new(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    left = (
        "scales scales-int4 codec-int8 aligned predicted teacher engine-chat .engine.unfinished-a1"
    )
    for folder in left.split():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").touch()
    (tmp_path / "profile.json").touch()
    for name in ("scales.md", "train/predicted/kept.py"):  # of the repository itself
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    command = ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard"]
    new = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert new == [".gitignore", "scales.md", "train/predicted/kept.py"]


def test_cleaning_leaves_what_make_has_not_made(clone: Path) -> None:
    own = ("engine", "engine-6", "engine-mine", "my-engine", "build/engine", "dist", ".venv/lib")
    made = ("demo-engine", "engine-rtx-6-fp16", "gpu-check/engine", "build/scales-3-int8")
    for folder in (*own, *made):
        (clone / folder).mkdir(parents=True)
    (clone / "gpu-check" / "gpu-check.txt").touch()
    done = make(clone, "clean", "ENGINE=engine", "REFERENCE=my-engine")
    assert done.returncode == 0, done.stderr
    assert all((clone / folder).is_dir() for folder in own)
    assert (clone / "gpu-check" / "gpu-check.txt").is_file()
    assert not any((clone / folder).exists() for folder in made)
    (clone / ".venv" / "installed").touch()  # then it is make's
    make(clone, "clean")
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("tegra", "extra", "is_pinned"),
    [("R36", "jetpack6", False), ("R39", "jetpack7", False), ("", "tensorrt-rtx", True)],
)
def test_gpu_check_installs_what_a_jetpack_takes(
    clone: Path, tegra: str, extra: str, is_pinned: bool
) -> None:
    write_stand_in(clone / ".venv-gpu" / "bin" / "python")
    done = make(clone, ".venv-gpu/installed", f"TEGRA={tegra}")
    assert done.returncode == 0, done.stderr
    install = calls(clone)[-1]
    assert install[-1] == f".[export,calibration,phonemes,{extra}]"
    constraints = clone / install[install.index("--constraint") + 1]
    pinned = {line.partition("==")[0] for line in constraints.read_text().splitlines()}
    assert {"numpy", "onnxruntime"} <= pinned
    assert ("cuda-python" in pinned) is is_pinned, "the lock's is for CUDA 13"


def test_gpu_check_asks_for_a_gpu_before_it_installs(clone: Path) -> None:
    assert make(clone, "gpu-check").returncode != 0
    assert calls(clone)[-1] == ["-m", "runtime.gpu_check", "--find-gpu"]
    assert not any("venv" in words or "pip" in words for words in calls(clone))
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(("precision", "scaled"), [("fp16", []), ("int4", ["calibration.run"])])
def test_gpu_check_goes_by_what_the_gpu_reads(
    clone: Path, precision: str, scaled: list[str]
) -> None:
    """The stand-in of the environment says that its TensorRT reads basic graphs."""
    python = write_stand_in(clone / ".venv-gpu" / "bin" / "python")
    said = {"--print-target": "--target tensorrt", "--print-dialect": "basic"}
    answer = f"print({said}.get(sys.argv[-1]))\nsys.exit"
    python.write_text(STAND_IN.replace("sys.exit", answer))
    installed = clone / ".venv-gpu" / "installed"
    installed.touch()
    os.utime(installed, (LATER, LATER))
    done = make(clone, "checked-gpu", f"PRECISION={precision}")
    assert done.returncode == 0, done.stderr
    of_environment = [words for words in calls(clone) if words[0] == "-m"]
    asked, made = of_environment[:2], of_environment[2:]
    assert [words[-1] for words in asked] == [*said]
    assert [words[1] for words in made] == [*scaled, *["export.build"] * 2, "runtime.gpu_check"]
    for words in made[:-2]:  # scales and the reference
        assert words[words.index("--dialect") + 1] == "basic"
    plans = made[-2]
    assert plans[2:6] == ["--target", "tensorrt", "--precision", precision]
    assert ("--calibration" in plans) == bool(scaled)


def test_an_old_python_is_told_at_once(clone: Path) -> None:
    for target, environment, oldest in (("demo", ".venv-demo", 10), ("venv", ".venv", 11)):
        done = make(clone, target, "PYTHON=false")
        assert done.returncode != 0
        assert f"error: this needs Python 3.{oldest} or newer, found as false" in done.stderr
        assert not (clone / environment).exists()


def test_a_missing_python310_is_one_line(clone: Path) -> None:
    done = make(clone, "python310-check", "PYTHON310=")
    assert done.returncode != 0
    line = "error: no python3.10 is found; name one: make python310-check PYTHON310=PATH"
    assert done.stderr.splitlines()[0] == line
    assert not (clone / ".venv-python310").exists()


def test_python310_is_found_where_pyenv_puts_it(clone: Path) -> None:
    """What pyenv has put on PATH is a shim that fails if no such version is chosen."""
    shim = clone / "bin" / "python3.10"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.10: command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    found = write_stand_in(clone / "pyenv" / "versions" / "3.10.13" / "bin" / "python3.10")
    path = f"{shim.parent}:/usr/bin:/bin"
    make(clone, "python310-check", PATH=path, PYENV_ROOT=str(clone / "pyenv"))
    assert ["-m", "venv", ".venv-python310"] in calls(clone), found


RECIPES = {
    "voice": "--config samples/demo_voice/codec-tuned.yaml --phase decoder --resume",
    "rehearsal": "make voice VOICE=runs/rehearsal CONFIGS=runs/rehearsal/configs",
    "adopt": "-m train.halve_codec runs/demo/codec samples/demo_voice/codec",
    "judge": "-m evaluation.speech --sentences samples/evaluation/everyday.txt",
    "compare": "-m samples.demo_voice.compare ntp=runs/demo/engine-ntp",
    "chat": "-m evaluation.answers --engine engine-chat --output judged/chat",
    "chat-speakerless": "-m train.lm --config samples/demo_chat/lm-6-speakerless.yaml",
    "python310-check": "-m pytest -n auto --dist worksteal tests/commands",
    "bench": "--against runs/bench/onnxruntime --threads 1 --runs 10 --json bench.json",
    "engines": "--target tensorrt-rtx --precision int4 --output engine-rtx-6-int4",
    "published-engines": "-m benchmarks.published_size --heads 6 --output runs/published-6",
}


@pytest.mark.parametrize("target", RECIPES)
def test_every_recipe_is_there_from_the_top(target: str) -> None:
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert RECIPES[target] in " ".join(done.stdout.replace("\\\n", " ").split())


def test_the_help_names_every_recipe() -> None:
    command = ["make", "--silent", "help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"make {target} " in said for target in RECIPES)


def test_calibrations_are_made_for_the_precisions_that_need_them() -> None:
    for precision, calibrates in (("fp16", False), ("int8", True)):
        command = ["make", "--dry-run", "--always-make", "checked-gpu", f"PRECISION={precision}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ("calibration.run" in done.stdout) == calibrates
