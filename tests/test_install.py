"""The installed product: what a wheel holds, its commands, and what little a device needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from commands.launch import VERBS, script_name
from commands.version import VERSION
from tests.project import PROJECT

ROOT = Path(__file__).parent.parent
NEVER_ON_A_DEVICE = {"torch", "onnx", "onnx-ir", "onnxscript", "transformers"}
SCRIPTS = PROJECT["scripts"]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def attempt(*command: str | Path, cwd: Path, **environment: str) -> tuple[int, str]:
    """Exit status and all output of a command that may fail."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=clean | environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def install_without_requirements(source: Path, folder: Path, *options: str) -> Path:
    """The `bin` of a new environment that holds this project and nothing else."""
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps")
    run(*pip, *options, source, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT, cwd=folder
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel and its own requirements only."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    lock = ROOT / "requirements.lock"
    run(python, "-m", "pip", "install", "--quiet", "-c", lock, wheel, cwd=folder)
    return python


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    metadata = {top for top in tops if top.endswith(".dist-info")}
    assert tops - metadata == {
        "runtime",
        "export",
        "train",
        "calibration",
        "evaluation",
        "formats",
        "commands",
    }


def test_wheel_holds_what_a_page_is_made_of(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"runtime/profiling/page/page.css", "runtime/profiling/page/page.js"} <= {*names}


def test_device_has_no_training_or_export_libraries(device: Path, tmp_path: Path) -> None:
    listed = run(device, "-m", "pip", "list", "--format=freeze", cwd=tmp_path)
    installed = {line.split("==")[0].lower() for line in listed.splitlines()}
    assert not installed & NEVER_ON_A_DEVICE


def test_device_speaks(device: Path, tiny_engine: Path, tmp_path: Path) -> None:
    command = ["-m", "runtime.tts", "They know it.", "--max-steps", "3", "-o", "out.wav"]
    run(device, *command, "--engine", tiny_engine, cwd=tmp_path)
    assert (tmp_path / "out.wav").stat().st_size > 44  # more than a WAV header


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "wheel":
        return install_without_requirements(wheel, folder)
    return install_without_requirements(ROOT, folder, "--editable")


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A user's folder with modules that are called like this project's packages."""
    (tmp_path / "runtime.py").write_text("raise SystemExit('the user’s own runtime')\n", "utf-8")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "__init__.py").touch()
    (tmp_path / "commands").mkdir()  # no package: it has no __init__.py
    return tmp_path


def test_every_command_has_a_script_named_by_the_rule() -> None:
    commands = [
        f"{package}.{path.stem}"
        for package in VERBS
        for path in (ROOT / package).glob("*.py")
        if re.search(r"^def main\(argv", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert {script_name(module): f"{module}:main" for module in commands} == SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_explain_themselves_without_any_requirement(
    installed: Path, script: str, tmp_path: Path
) -> None:
    assert run(installed / script, "--help", cwd=tmp_path).startswith(f"usage: {script} ")
    assert run(installed / script, "--version", cwd=tmp_path) == f"slm-deploy {VERSION}\n"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_work_beside_modules_of_the_same_names(
    installed: Path, script: str, crowded: Path
) -> None:
    assert run(installed / script, "--version", cwd=crowded) == f"slm-deploy {VERSION}\n"


@pytest.mark.parametrize("module", ["runtime.tts", "train.lm"])
def test_python_m_takes_the_working_folder_first_unless_told_not_to(
    installed: Path, module: str, crowded: Path
) -> None:
    """docs/commands.md says so, and what to do."""
    python = installed / "python"
    status, _ = attempt(python, "-m", module, "--version", cwd=crowded)
    assert status == 1
    spoken = (0, f"slm-deploy {VERSION}\n")
    assert attempt(python, "-P", "-m", module, "--version", cwd=crowded) == spoken
    safe = {"PYTHONSAFEPATH": "1"}
    assert attempt(python, "-m", module, "--version", cwd=crowded, **safe) == spoken


def test_python_m_passes_over_folders_that_are_no_packages(installed: Path, tmp_path: Path) -> None:
    for name in ("runtime", "train", "commands"):
        (tmp_path / name).mkdir()
    assert attempt(installed / "python", "-m", "train.lm", "--version", cwd=tmp_path)[0] == 0


def test_python_names_the_module_that_is_in_the_way(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "runtime.py").touch()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "__init__.py").touch()
    python = installed / "python"
    assert "not found on 'runtime'" in attempt(python, "-m", "runtime.tts", cwd=tmp_path)[1]
    assert "No module named train.lm" in attempt(python, "-m", "train.lm", cwd=tmp_path)[1]


def test_the_version_is_written_once() -> None:
    wheels = re.findall(r"slm_deploy-([\d.]+)-py3", (ROOT / "README.md").read_text("utf-8"))
    assert set(wheels) == {VERSION}
    for file in ("CMakeLists.txt", "pyproject.toml", "CITATION.cff"):
        text = (ROOT / file).read_text("utf-8")
        assert not re.search(rf"^[^\n]*version[^\n]*{re.escape(VERSION)}", text, re.I | re.M), file


def test_a_wheel_can_carry_the_native_library(
    native_library: Path, tiny_native_engine: Path, tmp_path: Path
) -> None:
    """Outside of a clone, its library is the one that speaks."""
    tag = "py3-none-linux_x86_64"
    asked_for = {"SLM_WHEEL_LIBRARY": str(native_library), "SLM_WHEEL_TAG": tag}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], env=os.environ | asked_for, check=True, cwd=tmp_path)
    wheel = next(tmp_path.glob(f"*-{tag}.whl"))
    unpacked = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(unpacked)
    library = unpacked / "runtime" / "engines" / "native" / "lib" / native_library.name
    assert library.read_bytes() == native_library.read_bytes()
    code = "from runtime.engines.native.places import find_library; print(find_library())"
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert found.stdout == f"{library}\n"
    speak = ["-P", "-m", "runtime.tts", "They know it.", "--engine", str(tiny_native_engine)]
    subprocess.run(
        [sys.executable, *speak, "--max-steps", "3", "-o", "out.wav"],
        env=environment,
        check=True,
        cwd=tmp_path,
    )
    assert (tmp_path / "out.wav").stat().st_size > 44
