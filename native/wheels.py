"""`python native/wheels.py`: wheels that carry the native library, for all platforms.

In: this clone, ziglang and lief (`make wheels` installs them). Out: a wheel for each platform in
`dist`, whose library shows the functions of slm.h and nothing else, needs no library but the
system's own, and is small.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lief

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from commands.errors import EXIT_USER_ERROR, UserError  # noqa: E402 (from this clone)
from native.build import ZIG_TARGETS, build  # noqa: E402 (from this clone)

HEADER = ROOT / "native" / "include" / "slm.h"
LIBRARIES = ROOT / "build" / "native" / "wheels"
MAX_LIBRARY_BYTES = 4 * 2**20
MAX_GLIBC = (2, 17)  # what the tags promise


@dataclass(frozen=True)
class Platform:
    """tag: of its wheels. system: the libraries that every such system has."""

    tag: str
    system: re.Pattern[str]


# What zig's linker for macOS cannot hide: how C++ allocates, and what every library there shows.
_ALWAYS_SHOWN = re.compile(r"_Z(nw|na|dl|da)\w+|__dso_handle|_mh_dylib_header")
_GLIBC = re.compile(r"(lib(c|m|pthread|dl|rt)|ld-linux(-x86-64|-aarch64))\.so\.\d")
PLATFORMS = {
    "linux-x86_64": Platform("py3-none-manylinux_2_17_x86_64", _GLIBC),
    "linux-aarch64": Platform("py3-none-manylinux_2_17_aarch64", _GLIBC),
    "windows-x86_64": Platform(
        "py3-none-win_amd64", re.compile(r"(KERNEL32|ntdll|ADVAPI32|api-ms-win-crt-.*)\.dll", re.I)
    ),
    "macos-arm64": Platform(
        "py3-none-macosx_11_0_arm64",
        re.compile(r"/usr/lib/lib(System\.B|c\+\+\.1)\.dylib|@rpath/libslm\.dylib"),
    ),
}
assert PLATFORMS.keys() == ZIG_TARGETS.keys()


def make_wheel(target: str, output: Path) -> str:
    """Build, check and pack. Returns a line about what was made."""
    library, _ = build(target, output=LIBRARIES / target)
    check_library(library, target)
    platform = PLATFORMS[target]
    environment = {"SLM_WHEEL_LIBRARY": str(library), "SLM_WHEEL_TAG": platform.tag}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(output)]
    done = subprocess.run([*command, str(ROOT)], env=os.environ | environment, check=False)
    if done.returncode:
        raise UserError(f"{target}: pip could not make a wheel; see above")
    made = next(output.glob(f"*-{platform.tag}.whl"))
    mb = 2**20
    return (
        f"{made}: {made.stat().st_size / mb:.1f} MB, its {library.name} "
        f"{library.stat().st_size / mb:.1f} MB"
    )


def check_library(library: Path, target: str) -> None:
    """Raises `UserError`: too large, other functions than slm.h has, or other libraries needed."""
    size = library.stat().st_size
    if size > MAX_LIBRARY_BYTES:
        raise UserError(f"{library}: {size} bytes, more than {MAX_LIBRARY_BYTES}")
    parsed = lief.parse(str(library))
    if parsed is None:
        raise UserError(f"{library}: no library that lief can read")
    shown, declared = exported_names(parsed), declared_names()
    if shown != declared:
        raise UserError(f"{library}: shows {sorted(shown ^ declared)} unlike {HEADER.name}")
    needed = [str(getattr(needed, "name", needed)) for needed in parsed.libraries]
    foreign = [name for name in needed if not PLATFORMS[target].system.fullmatch(name)]
    if foreign:
        raise UserError(f"{library}: needs {foreign[0]}, which not every system has")
    if isinstance(parsed, lief.ELF.Binary) and (newest := newest_glibc(parsed)) > MAX_GLIBC:
        raise UserError(f"{library}: needs glibc {newest}, newer than {MAX_GLIBC}")


def exported_names(parsed: lief.Binary) -> set[str]:
    """The functions that a program can call."""
    if isinstance(parsed, lief.PE.Binary):
        export = parsed.get_export()
        return {entry.name for entry in export.entries} if export else set()
    if isinstance(parsed, lief.MachO.Binary):
        names = (symbol.name.removeprefix("_") for symbol in parsed.exported_symbols)
        return {name for name in names if not _ALWAYS_SHOWN.fullmatch(name)}
    return {symbol.name for symbol in parsed.exported_symbols}


def declared_names() -> set[str]:
    """The functions of slm.h."""
    text = HEADER.read_text(encoding="utf-8")
    return set(re.findall(r"^SLM_API [^;(]*?\b(slm_\w+)\(", text, re.MULTILINE))


def newest_glibc(parsed: lief.ELF.Binary) -> tuple[int, ...]:
    versions = [
        auxiliary.name.removeprefix("GLIBC_")
        for requirement in parsed.symbols_version_requirement
        for auxiliary in requirement.get_auxiliary_symbols()
        if auxiliary.name.startswith("GLIBC_")
    ]
    return max((tuple(map(int, version.split("."))) for version in versions), default=(0,))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="native/wheels.py", description=__doc__.splitlines()[0])
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help=f"{', '.join(PLATFORMS)}")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR")
    arguments = parser.parse_args(argv)
    try:
        for target in arguments.platforms or PLATFORMS:
            if target not in PLATFORMS:
                raise UserError(f"unknown platform {target!r}; there are {', '.join(PLATFORMS)}")
            print(make_wheel(target, arguments.output), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
