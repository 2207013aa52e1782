"""`python native/build.py`: build the native engine's library. It needs a C++ compiler, or ziglang.

In: native/engine, native/include, and the compiler that is found or named. Out: one shared library,
in `build/native/PLATFORM` or in `--output`, whole or not at all. Objects are kept by the hash of
all that goes into them, so a second call compiles only what has changed. It installs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from commands.errors import EXIT_USER_ERROR, UserError  # noqa: E402 (from this clone)
from commands.version import VERSION  # noqa: E402 (from this clone)
from runtime.engines.native.places import (  # noqa: E402 (from this clone)
    build_folder,
    library_name,
    this_platform,
)

ENGINE = ROOT / "native" / "engine"
INCLUDE_FOLDERS = (ROOT / "native" / "include", ENGINE)
EXPORTS = ROOT / "native" / "exports.map"  # for ELF: what the library shows
OBJECTS = ROOT / "build" / "native" / "objects"

# What `--target` takes -> the compiler's own name for it. glibc 2.17 is manylinux2014's.
ZIG_TARGETS = {
    "linux-x86_64": "x86_64-linux-gnu.2.17",
    "linux-aarch64": "aarch64-linux-gnu.2.17",
    "windows-x86_64": "x86_64-windows-gnu",
    "macos-arm64": "aarch64-macos.11.0",
}
SYSTEM_COMPILERS = ("c++", "g++", "clang++")
FLAGS = (
    "-std=c++20",
    "-O3",
    "-fvisibility=hidden",
    "-fvisibility-inlines-hidden",
    "-ffp-contract=off",  # the order of sums is a promise: nothing is fused but what is written so
    f'-DSLM_VERSION="{VERSION}"',
)
DEBUG_FLAGS = ("-g", "-fno-omit-frame-pointer")  # of sanitizers, whose reports name lines
PROBE = """#include <atomic>
#include <span>
void probe(std::atomic<int>& value, std::span<int>) { value.wait(0); }
"""
DEFAULT_JOBS = min(8, os.cpu_count() or 1)

_INCLUDED = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C++ for one platform, and its version in words."""

    command: tuple[str, ...]
    version: str
    target: str
    sanitizers: str = ""

    @property
    def compile_flags(self) -> tuple[str, ...]:
        flags = FLAGS if self.target.startswith("windows") else (*FLAGS, "-fPIC", "-pthread")
        if not self.sanitizers:
            return flags
        return (*flags, *DEBUG_FLAGS, f"-fsanitize={self.sanitizers}")

    @property
    def link_flags(self) -> tuple[str, ...]:
        system = self.target.partition("-")[0]
        flags = ["-shared"]
        if self.sanitizers:
            flags += [f"-fsanitize={self.sanitizers}"]
        else:
            flags += ["-s"]
        if system == "linux":
            flags += ["-pthread", f"-Wl,--version-script={EXPORTS}", "-Wl,-z,noexecstack"]
        if system == "macos":
            flags += ["-Wl,-install_name,@rpath/libslm.dylib"]
        return tuple(flags)

    def identity(self) -> str:
        return "\n".join([*self.command, self.version, *self.compile_flags])

    def __str__(self) -> str:
        return f"{shlex.join(self.command)} ({self.version})"


def build(
    target: str | None = None,
    compiler: str | None = None,
    output: Path | None = None,
    sanitizers: str = "",
    jobs: int = DEFAULT_JOBS,
) -> tuple[Path, Compiler]:
    """Build the library unless it is there. Returns its path, and what compiled it.

    target: None compiles for this machine, with its own compiler if there is one. A platform is
    compiled for by ziglang, so that the library runs on other machines as well.

    Raises:
        UserError: no compiler, or one that fails.
    """
    commands = list_commands(target, compiler)
    target = target or this_platform()
    name = f"{target}-{sanitizers.replace(',', '-')}" if sanitizers else target
    library = (output or build_folder(name)) / library_name(target)
    chosen = choose_compiler(commands, target, sanitizers)
    with _alone(_object_folder(chosen) / "lock"):
        objects = _compile_all(chosen, jobs)
        _link(chosen, objects, library)
    return library, chosen


# Compilers.


def choose_compiler(
    commands: Iterable[tuple[str, ...]], target: str, sanitizers: str = ""
) -> Compiler:
    """The first of these commands that works.

    Raises:
        UserError: there is none, or it knows no C++20.
    """
    tried = []
    for command in commands:
        version = _version_of(command)
        if version is not None:
            compiler = Compiler(command, version, target, sanitizers)
            if _knows_cpp20(compiler):
                return compiler
        tried.append(shlex.join(command))
    others = f" ({', '.join(tried)} cannot compile C++20)" if tried else ""
    raise UserError(
        f"no C++ compiler for {target} is found{others}; install g++ 11 or clang++ 14 or newer, "
        "or: pip install ziglang"
    )


def list_commands(target: str | None, asked_for: str | None) -> Iterator[tuple[str, ...]]:
    """The compiler that was asked for; else the system's, for this machine; else ziglang's."""
    if asked_for is not None:
        yield tuple(shlex.split(asked_for))
        return
    if target is None:
        named = os.environ.get("CXX")
        for command in (*([named] if named else []), *SYSTEM_COMPILERS):
            words = shlex.split(command)
            if words and shutil.which(words[0]):
                yield tuple(words)
    triple = ZIG_TARGETS.get(target or this_platform())
    if triple and (zig := _find_zig()):
        yield (*zig, "c++", "-target", triple)


def _find_zig() -> tuple[str, ...] | None:
    if importlib.util.find_spec("ziglang"):
        return sys.executable, "-m", "ziglang"
    zig = shutil.which("zig")
    return (zig,) if zig else None


def _version_of(command: tuple[str, ...]) -> str | None:
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return next(iter(said.stdout.splitlines()), "") if said.returncode == 0 else None


def _knows_cpp20(compiler: Compiler) -> bool:
    """Compile a few lines, once for each compiler."""
    kept = _object_folder(compiler) / "probe.o"
    if kept.is_file():
        return True
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        source, made = Path(folder) / "probe.cpp", Path(folder) / "probe.o"
        source.write_text(PROBE, encoding="utf-8")
        command = [*compiler.command, *compiler.compile_flags, "-c", str(source), "-o", str(made)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return False
        made.replace(kept)
    return True


# Objects.


def _compile_all(compiler: Compiler, jobs: int) -> list[Path]:
    """The objects of all sources. Those of earlier sources are removed."""
    sources = sorted(ENGINE.glob("*/*.cpp"))
    folder = _object_folder(compiler)
    objects = [folder / f"{_stem(source)}.{_hash_source(source)}.o" for source in sources]
    with ThreadPoolExecutor(jobs) as pool:
        pairs = [pair for pair in zip(sources, objects, strict=True) if not pair[1].is_file()]
        if pairs:
            print(_announce(compiler, len(pairs), len(sources)), file=sys.stderr, flush=True)
        for done in [pool.submit(_compile, compiler, *pair) for pair in pairs]:
            done.result()
    for old in {*folder.glob("*.*.o")}.difference(objects):
        old.unlink()
    return objects


def _announce(compiler: Compiler, changed: int, sources: int) -> str:
    what = (
        "all of it, half a minute or more"
        if changed == sources
        else f"{changed} of {sources} files"
    )
    return f"compiling the native engine with {compiler}: {what} ..."


def _compile(compiler: Compiler, source: Path, kept: Path) -> None:
    started = kept.with_suffix(".started")
    folders = [f"-I{folder}" for folder in INCLUDE_FOLDERS]
    flags = compiler.compile_flags
    _run([*compiler.command, *flags, *folders, "-c", str(source), "-o", str(started)])
    started.replace(kept)


def _object_folder(compiler: Compiler) -> Path:
    return OBJECTS / f"{compiler.target}-{_hash(compiler.identity().encode())}"


def _stem(source: Path) -> str:
    return "-".join(source.relative_to(ENGINE).with_suffix("").parts)


def _hash_source(source: Path) -> str:
    """Of a source and the headers of this project that it includes, directly or not."""
    seen: dict[Path, bytes] = {}
    waiting = [source]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen[path] = path.read_bytes()
        for name in _INCLUDED.findall(seen[path].decode()):
            found = (folder / name for folder in (path.parent, *INCLUDE_FOLDERS))
            waiting += [next((p.resolve() for p in found if p.is_file()), path)]
    return _hash(*(seen[path] for path in sorted(seen)))


def _hash(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]


# The library.


def _link(compiler: Compiler, objects: Sequence[Path], library: Path) -> None:
    """Link, unless the library was linked of the same objects and has not been changed since."""
    command = [*compiler.command, *compiler.link_flags, *map(str, objects)]
    stamp = library.with_suffix(".stamp")
    made_of = _hash("\n".join(command).encode(), EXPORTS.read_bytes())
    if library.is_file() and stamp.is_file():
        now = [made_of, _hash(library.read_bytes())]
        if stamp.read_text(encoding="utf-8").split() == now:
            return
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".linking-") as folder:
        linked = Path(folder) / library.name
        _run([*command, "-o", str(linked)])
        stamp.write_text(f"{made_of} {_hash(linked.read_bytes())}\n", encoding="utf-8")
        linked.replace(library)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
    if done.stderr.strip():
        print(done.stderr.strip(), file=sys.stderr)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One such build at a time in this clone: others wait, and then find everything built."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="native/build.py", description="Build the library of the native engine."
    )
    parser.add_argument(
        "--compiler", metavar="CMD", help="default: CXX, else c++, g++ or clang++, else ziglang"
    )
    parser.add_argument(
        "--target",
        choices=ZIG_TARGETS,
        help="default: for this machine, with its own compiler; a platform needs ziglang",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: build/native/PLATFORM")
    parser.add_argument(
        "--sanitize", default="", metavar="NAMES", help="such as address,undefined or thread"
    )
    parser.add_argument(
        "--find", action="store_true", help="only say which compiler there is; status 2 if none"
    )
    parser.add_argument(
        "--quiet", action="store_true", help="say only what is compiled, and nothing if nothing is"
    )
    parser.add_argument(
        "--jobs", type=int, default=DEFAULT_JOBS, metavar="N", help=f"default: {DEFAULT_JOBS}"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    try:
        if arguments.find:
            commands = list_commands(arguments.target, arguments.compiler)
            print(choose_compiler(commands, arguments.target or this_platform()))
            return 0
        library, compiler = build(
            arguments.target,
            arguments.compiler,
            arguments.output,
            arguments.sanitize,
            max(1, arguments.jobs),
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    if not arguments.quiet:
        size = library.stat().st_size / 2**20
        print(f"{library}: {size:.1f} MB, compiled by {compiler}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
