"""Run a test program on an emulated x86-64 processor: one with instructions that this one lacks.

In: a C++ program, and the path of a Bochs of version 3.0 or newer that was configured with
--enable-x86-64, --enable-avx, --enable-evex and --enable-amx. Out: what the program prints, and its
status.

The program is linked with a few system calls (`system_calls.cpp`) and starts without a system:
`start.S` brings the processor into 64-bit mode and copies the program to where it was linked.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
ENGINE = HERE.parents[1] / "engine"
INCLUDES = [f"-I{folder}" for folder in (HERE.parents[1] / "include", ENGINE)]
KERNELS = sorted((ENGINE / "kernels").glob("*.cpp"))

PROGRAM = 0x3FF000  # as in start.S
FIRST_BLOCK_BYTES = 0x10000  # start.S, at the end of the first 4 GB
WHERE_IMAGE_IS_TOLD = 0xFFE0
LOADED = 1  # the type of a program header
SETTINGS = """\
memory: guest=512, host=512
romimage: file={rom}, address={address:#x}
vgaromimage: file={no_video}
cpu: model=sapphire_rapids, ips=100000000, reset_on_triple_fault=0
clock: sync=none
port_e9_hack: enabled=1
log: {log}
panic: action=fatal
display_library: nogui
"""


def compile_program(source: Path, compiler: str, folder: Path) -> Path:
    """`source` and the kernels, as a static program that begins without a system."""
    command = [*shlex.split(compiler), "-std=c++20", *INCLUDES]
    calls, program = folder / "system_calls.o", folder / "program"
    plain = ["-O1", "-mgeneral-regs-only", "-fno-stack-protector", "-fcf-protection=none"]
    _run([*command, *plain, "-c", str(HERE / "system_calls.cpp"), "-o", str(calls)])
    sources = [str(path) for path in (source, *KERNELS)]
    _run([*command, "-O2", "-static", "-no-pie", *sources, str(calls), "-o", str(program)])
    return program


def read_image(program: Path) -> bytes:
    """The memory from PROGRAM on, as the program wants it; first the address where it begins."""
    symbols = subprocess.check_output(["nm", str(program)], text=True)
    found = re.search(r"^([0-9a-f]+) T begin_program$", symbols, re.MULTILINE)
    assert found is not None
    image = bytearray(struct.pack("<Q", int(found[1], 16)))
    elf = program.read_bytes()
    (headers,), (count,) = struct.unpack_from("<Q", elf, 32), struct.unpack_from("<H", elf, 56)
    for index in range(count):
        header = struct.unpack_from("<IIQQQQQQ", elf, headers + 56 * index)
        kind, _, offset, address, _, size, _, _ = header
        if kind == LOADED:
            end = address - PROGRAM + size
            image.extend(bytes(max(0, end - len(image))))
            image[end - size : end] = elf[offset : offset + size]
    return bytes(image)


def write_rom(image: bytes, folder: Path) -> tuple[Path, int]:
    """What lies at the end of the first 4 GB: the image, then start.S. Also where it begins."""
    start, binary, rom = folder / "start.o", folder / "start.bin", folder / "rom.bin"
    _run(["as", "--64", str(HERE / "start.S"), "-o", str(start)])
    layout = ["-Ttext=0xffff0000", "--oformat=binary", "-e", "0xfffffff0"]
    _run(["ld", *layout, str(start), "-o", str(binary)])
    first = bytearray(binary.read_bytes())
    assert len(first) == FIRST_BLOCK_BYTES
    filled = image + bytes(-len(image) % FIRST_BLOCK_BYTES)
    address = 2**32 - len(first) - len(filled)
    struct.pack_into("<II", first, WHERE_IMAGE_IS_TOLD, address, len(image))
    rom.write_bytes(filled + first)
    return rom, address


def emulate(program: Path, bochs: str, folder: Path) -> int:
    """Print what the program prints; its status."""
    rom, address = write_rom(read_image(program), folder)
    no_video, log = folder / "no_video.bin", folder / "log"
    no_video.write_bytes(bytes(512))
    settings = folder / "settings"
    names = {"rom": rom, "address": address, "no_video": no_video, "log": log}
    settings.write_text(SETTINGS.format(**names), encoding="utf-8")
    words = [bochs, "-q", "-f", str(settings)]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    said = re.search(r"={10,}\n((?:(?!={10}).*\n)*)status ([01])$", done.stdout, re.MULTILINE)
    if said is None:
        last = log.read_text(errors="replace") if log.exists() else done.stdout + done.stderr
        print(f"{last[-3_000:]}\nerror: {bochs} did not come to the program's end", file=sys.stderr)
        return 1
    print(said[1], end="")
    return int(said[2])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: {shlex.join(command)} failed:\n{done.stderr.strip()}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="native/tests/emulated/run.py", description=__doc__)
    parser.add_argument("--bochs", default="bochs", metavar="PATH", help="default: bochs")
    parser.add_argument("--compiler", default="c++", metavar="CMD", help="default: c++")
    parser.add_argument("source", type=Path, help="such as native/tests/emulated/amx_test.cpp")
    arguments = parser.parse_args(argv)
    if shutil.which(arguments.bochs) is None:
        print(f"error: no program {arguments.bochs}: give --bochs PATH", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        program = compile_program(arguments.source, arguments.compiler, Path(name))
        return emulate(program, arguments.bochs, Path(name))


if __name__ == "__main__":
    sys.exit(main())
