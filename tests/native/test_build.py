"""`native/build.py`: what it compiles again, what it says, and what the library shows.

A small project stands in for the engine, and a script that counts its calls for a compiler.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from commands.errors import UserError
from native import build
from runtime.engines.native import library, places

SOURCES = {
    "include/slm.h": '#pragma once\n#define SLM_API __attribute__((visibility("default")))\n',
    "engine/maths/two.h": '#pragma once\n#include "maths/deep.h"\nint two();\n',
    "engine/maths/deep.h": "#pragma once\n",
    "engine/maths/two.cpp": '#include "maths/two.h"\nint two() { return 2; }\n',
    "engine/api/api.cpp": (
        '#include "slm.h"\n#include "maths/two.h"\n'
        'extern "C" SLM_API unsigned slm_interface() { return 98u + two(); }\n'
        'extern "C" SLM_API int other() { return 1; }\n'
    ),
    "engine/api/alone.cpp": "static int alone() { return 3; }\nint call() { return alone(); }\n",
    "exports.map": "{ global: slm_*; local: *; };\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, folder in {
        "ENGINE": "engine",
        "EXPORTS": "exports.map",
        "OBJECTS": "objects",
    }.items():
        monkeypatch.setattr(build, name, tmp_path / folder)
    monkeypatch.setattr(build, "INCLUDE_FOLDERS", (tmp_path / "include", tmp_path / "engine"))
    monkeypatch.setattr(build, "build_folder", lambda target: tmp_path / "out" / target)
    counter = tmp_path / "counting"
    counter.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\nexec c++ "$@"\n')
    counter.chmod(0o755)
    return tmp_path


def make(project: Path) -> list[str]:
    """The sources that were compiled, and "link"."""
    (project / "calls").write_text("")
    build.build(compiler=str(project / "counting"))
    calls = [call.split() for call in (project / "calls").read_text().splitlines()]
    sources = [Path(word).stem for call in calls if "-c" in call for word in call if ".cpp" in word]
    return sorted(sources) + ["link"] * any("-shared" in call for call in calls)


def test_only_what_has_changed_is_compiled_again(project: Path) -> None:
    assert make(project) == ["alone", "api", "probe", "two", "link"]
    assert make(project) == []
    (project / "engine/maths/deep.h").write_text("#pragma once\n// changed\n")
    assert make(project) == ["api", "two", "link"]
    (project / "engine/api/alone.cpp").unlink()
    assert make(project) == ["link"]
    assert make(project) == []


def test_a_library_that_was_changed_is_linked_again(project: Path) -> None:
    make(project)
    path, _ = build.build(compiler=str(project / "counting"))
    path.write_bytes(path.read_bytes()[:-1])
    assert make(project) == ["link"]
    assert ctypes.CDLL(str(path)).slm_interface() == 100


def test_the_library_shows_the_interface_only(project: Path) -> None:
    loaded = ctypes.CDLL(str(build.build()[0]))
    assert loaded.slm_interface() == 100
    assert not hasattr(loaded, "other")


def test_what_the_compiler_says_is_told(project: Path) -> None:
    (project / "engine/api/alone.cpp").write_text("int call() { return nowhere; }\n")
    with pytest.raises(UserError, match=r"alone\.cpp.* failed:\n(.*\n)*.*nowhere"):
        build.build()
    assert not [*(project / "out").rglob("*.so")]


def test_without_a_compiler_it_says_what_to_install(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(project / "nothing"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    assert build.main([]) == 2
    assert capsys.readouterr().err == (
        f"error: no C++ compiler for {places.this_platform()} is found; install g++ 11 or clang++ "
        "14 or newer, or: pip install ziglang\n"
    )
    assert build.main(["--find"]) == 2
    old = project / "old"
    old.write_text("#!/bin/sh\nif [ $1 = --version ]; then echo old 1.0; else exit 1; fi\n")
    old.chmod(0o755)
    monkeypatch.setenv("CXX", str(old))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(build, "SYSTEM_COMPILERS", ())
    with pytest.raises(UserError, match=rf"is found \({old} cannot compile C\+\+20\)"):
        build.build()


def test_ziglang_is_the_last_choice_and_the_only_one_for_platforms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: name == "ziglang")
    zig = (sys.executable, "-m", "ziglang", "c++", "-target")
    monkeypatch.setattr(build, "this_platform", lambda: "linux-x86_64")
    here = [*build.list_commands(None, None)]
    assert here[0] == ("c++",)
    assert here[-1] == (*zig, "x86_64-linux-gnu.2.17")
    assert [*build.list_commands("macos-arm64", None)] == [(*zig, "aarch64-macos.11.0")]
    monkeypatch.setenv("CXX", "ccache g++")
    assert next(iter(build.list_commands(None, None))) == ("ccache", "g++") or not _has("ccache")
    assert [*build.list_commands(None, "mine -m64")] == [("mine", "-m64")]


def _has(program: str) -> bool:
    return subprocess.run(["which", program], capture_output=True).returncode == 0


def test_a_library_of_another_interface_is_refused(project: Path) -> None:
    path, _ = build.build()
    with pytest.raises(UserError, match=r"has interface 100, and this runtime needs 1; build it"):
        library.Library(path)
    (project / "engine/maths/two.cpp").write_text("int two() { return -97; }\n")
    path, _ = build.build(output=project / "another")
    with pytest.raises(UserError, match=r"is no native library .*slm_open.*build it: python nat"):
        library.Library(path)
    (project / "text").write_text("no library")
    with pytest.raises(UserError, match="is no native library for this Python"):
        library.Library(project / "text")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "CLONE", tmp_path)
    monkeypatch.setattr(places, "WHEEL_FOLDER", tmp_path / "lib")
    monkeypatch.delenv(places.OTHER_LIBRARY, raising=False)
    assert places.find_library() is None
    in_wheel = tmp_path / "lib" / places.library_name(places.this_platform())
    in_wheel.parent.mkdir()
    in_wheel.touch()
    assert places.find_library() == in_wheel
    monkeypatch.setenv(places.OTHER_LIBRARY, str(tmp_path / "mine.so"))
    assert places.find_library() == tmp_path / "mine.so"
    monkeypatch.setattr(library, "find_library", lambda: None)
    with pytest.raises(UserError, match=r"library is not there; build it: python native/build.py"):
        library.load_library.__wrapped__()
