"""Which target an export has where none is typed, and the library that is made for it.

Programs stand in for `native/build.py`; the last test takes the real one, without a compiler.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.errors import UserError
from export.build import make_parser, read_options
from export.target import make_library, settle_target
from runtime.bundle.names import NATIVE, ORT
from runtime.engines.native import places

ROOT = Path(__file__).parents[2]
BUILDER = """import json, sys
from pathlib import Path
here = Path(__file__).parent
with open(here / "calls.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "--find" in sys.argv:
    sys.exit({find} and sys.stderr.write("error: no C++ compiler is found; install g++\\n") and 2)
Path({library!r}).parent.mkdir(parents=True, exist_ok=True)
Path({library!r}).touch()
sys.exit({build})
"""

Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes a clone with a builder that ends with these statuses; returns its folder."""
    monkeypatch.delenv(places.OTHER_LIBRARY, raising=False)
    monkeypatch.setattr(places, "CLONE", tmp_path)
    monkeypatch.setattr(places, "BUILDER", tmp_path / "native" / "build.py")
    monkeypatch.setattr(places, "WHEEL_FOLDER", tmp_path / "lib")

    def prepare(find: int = 0, build: int = 0) -> Path:
        (tmp_path / "native").mkdir()
        library = str(library_of(tmp_path))
        places.BUILDER.write_text(BUILDER.format(find=find, build=build, library=library))
        return tmp_path

    return prepare


def library_of(folder: Path) -> Path:
    platform = places.this_platform()
    return folder / "build" / "native" / platform / places.library_name(platform)


def calls(folder: Path) -> list[list[str]]:
    lines = (folder / "native" / "calls.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def settle(*words: str) -> tuple[str, str]:
    choice = settle_target(make_parser().parse_args(words))
    return choice.target, choice.line


def test_the_native_engine_is_usual_and_made_current(machine: Machine) -> None:
    folder = machine()
    assert settle() == (NATIVE, "for the native engine (--target onnxruntime: for ONNX Runtime)")
    assert settle("--precision", "int4", "--calibration", "scales")[0] == NATIVE
    assert calls(folder) == [["--find"]] * 2
    make_library()
    assert library_of(folder).is_file()
    make_library()  # it may be of older sources
    assert calls(folder)[2:] == [["--find"], ["--quiet"]] * 2


def test_without_a_compiler_it_is_onnx_runtime_which_is_told(machine: Machine) -> None:
    folder = machine(find=2)
    assert settle() == (
        "onnxruntime",
        "for ONNX Runtime instead of the native engine, which is faster: no C++ compiler is found; "
        "install g++",
    )
    make_library()
    assert calls(folder) == [["--find"]] * 2


def test_a_library_that_is_there_needs_no_compiler(machine: Machine) -> None:
    folder = machine(find=2)
    library_of(folder).parent.mkdir(parents=True)
    library_of(folder).touch()
    assert settle()[0] == NATIVE


def test_an_installation_has_the_library_of_its_wheel(machine: Machine, tmp_path: Path) -> None:
    target, line = settle()  # no builder, no library
    assert (target, line.rpartition(": ")[2]) == (
        "onnxruntime",
        "this installation has no library of it",
    )
    in_wheel = tmp_path / "lib" / places.library_name(places.this_platform())
    in_wheel.parent.mkdir()
    in_wheel.touch()
    assert settle()[0] == NATIVE


def test_a_library_of_the_users_is_left_alone(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = machine()
    monkeypatch.setenv(places.OTHER_LIBRARY, str(folder / "mine.so"))
    assert settle()[0] == NATIVE
    make_library()
    assert not (folder / "native" / "calls.jsonl").exists()


def test_a_compiler_that_fails_is_no_reason_for_another_engine(machine: Machine) -> None:
    machine(build=2)
    assert settle()[0] == NATIVE
    with pytest.raises(UserError, match=r"cannot be built, see above; .*--target onnxruntime does"):
        make_library()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--dialect ort", "--dialect is about graphs"),
        ("--dialect portable --precision fp16", "--dialect is about graphs"),
        ("--codec-activation plugin", "--codec-activation is about graphs"),
        ("--precision fp16", "the native engine has no fp16"),
        ("--precision fp8 --calibration scales", "the native engine has no fp8"),
    ],
)
def test_options_of_graphs_are_for_onnx_runtime(machine: Machine, words: str, reason: str) -> None:
    folder = machine()
    assert settle(*words.split()) == ("onnxruntime", f"for ONNX Runtime: {reason}")
    assert not (folder / "native" / "calls.jsonl").exists()


def test_options_without_a_target_are_those_of_the_usual_one() -> None:
    parse = make_parser().parse_args
    assert read_options(parse([])).numbers.dialect == NATIVE
    assert read_options(parse(["--codec-activation", "plugin"])).numbers.dialect == ORT
    scales = read_options(parse(["--codec-calibration", "scales"])).numbers
    assert (scales.dialect, scales.codec_precision) == (NATIVE, "int8")
    for words in (["--sm", "89"], ["--bundle", "b"], ["--print-trtexec"]):
        with pytest.raises(UserError, match=f"{words[0]} goes with --target tensorrt-rtx or"):
            read_options(parse(words))
    with pytest.raises(UserError, match="--codec-precision goes with --target native"):
        read_options(parse(["--dialect", "ort", "--codec-precision", "bf16"]))


def test_the_real_builder_without_a_compiler(tmp_path: Path) -> None:
    """In a process whose PATH is empty, and whose clone has no library yet."""
    if importlib.util.find_spec("ziglang"):
        pytest.skip("ziglang is a compiler that needs no PATH")
    code = (
        "import sys; from pathlib import Path; "
        "from runtime.engines.native import places; places.CLONE = Path(sys.argv[1]); "
        "from export.build import make_parser; from export.target import settle_target; "
        "print(settle_target(make_parser().parse_args([])).line)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT), "HOME": os.environ["HOME"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "for ONNX Runtime instead of the native engine, which is faster: "
        f"no C++ compiler for {places.this_platform()} is found; install g++ 11 or clang++ 14 or "
        "newer, or: pip install ziglang\n"
    )


def test_the_real_builder_makes_the_real_library_current(native_library: Path) -> None:
    make_library()
    assert places.find_library() == native_library
