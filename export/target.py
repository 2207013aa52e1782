"""The engine that a bundle is for: which one if none is typed, and which options go with it.

In: parsed options of an export, and what this machine has: the native library, or a compiler for
it. Out: a target, and a line that says why it is this one. In a clone, `native/build.py` makes the
library; it does nothing where the library is current. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass

from commands.errors import UserError
from formats.precisions import NATIVE_PRECISIONS
from runtime.bundle.names import GPU_TARGETS, NATIVE, ONNXRUNTIME, ORT
from runtime.engines.native import places


@dataclass(frozen=True)
class Choice:
    """A target that was not typed, and a line that says why it is this one."""

    target: str
    line: str


USUAL = Choice(NATIVE, f"for the native engine (--target {ONNXRUNTIME}: for ONNX Runtime)")


def usual_target(arguments: argparse.Namespace) -> Choice:
    """What these options ask for if the native engine can be had. Nothing is looked for."""
    if reason := _why_graphs(arguments):
        return Choice(ONNXRUNTIME, f"for ONNX Runtime: {reason}")
    return USUAL


def settle_target(arguments: argparse.Namespace) -> Choice:
    """What these options get on this machine, which may have neither library nor compiler."""
    choice = usual_target(arguments)
    if choice is USUAL and (lacking := _find_lacking()):
        line = f"for ONNX Runtime instead of the native engine, which is faster: {lacking}"
        return Choice(ONNXRUNTIME, line)
    return choice


def make_library() -> None:
    """Make the native library of this clone current, if there is a compiler.

    Raises:
        UserError: the compiler fails.
    """
    if not _belongs_to_clone() or _why_not_built():
        return
    if subprocess.run([*_builder(), "--quiet"], check=False).returncode != 0:
        raise UserError(
            f"the native engine cannot be built, see above; {places.BUILD_COMMAND} tries again, "
            f"and --target {ONNXRUNTIME} does without"
        )


def check_target(arguments: argparse.Namespace) -> None:
    """Raise `UserError` for options that do not go with --target."""
    goes_with = {
        "sm": GPU_TARGETS,
        "bundle": GPU_TARGETS,
        "print_trtexec": GPU_TARGETS,
        "codec_precision": (NATIVE,),
        "cache": (NATIVE,),
        "dialect": (ONNXRUNTIME, *GPU_TARGETS),
        "codec_activation": (ONNXRUNTIME, *GPU_TARGETS),
    }
    for option, targets in goes_with.items():
        if getattr(arguments, option) and arguments.target not in targets:
            name = option.replace("_", "-")
            raise UserError(f"--{name} goes with --target {' or --target '.join(targets)}")
    if arguments.dialect == ORT and arguments.target in GPU_TARGETS:
        raise UserError(
            "--dialect ort is for ONNX Runtime; plans are built from portable or basic graphs"
        )
    if arguments.print_trtexec and arguments.bundle is None:
        raise UserError(
            "--print-trtexec needs graphs on the disk: export them with --dialect portable (for "
            "TensorRT 10.15 and newer) or basic (from 10.3) and name them with --bundle DIR"
        )


def _why_graphs(arguments: argparse.Namespace) -> str:
    """Why these options need graphs; "" if they do not."""
    for option, value in (
        ("--dialect", arguments.dialect),
        ("--codec-activation", arguments.codec_activation),
    ):
        if value:
            return f"{option} is about graphs"
    if arguments.precision not in (None, *NATIVE_PRECISIONS):
        return f"the native engine has no {arguments.precision}"
    return ""


def _find_lacking() -> str:
    """Why there can be no library; "" if there is one, or if it can be built."""
    if places.find_library() is not None:
        return ""
    return _why_not_built() if _belongs_to_clone() else "this installation has no library of it"


def _belongs_to_clone() -> bool:
    """Whether `native/build.py` makes the library: it is no wheel's, and not one of the user's."""
    in_wheel = places.WHEEL_FOLDER / places.library_name(places.this_platform())
    is_other = bool(os.environ.get(places.OTHER_LIBRARY)) or in_wheel.is_file()
    return places.BUILDER.is_file() and not is_other


def _why_not_built() -> str:
    """Why the library cannot be built here; "" if it can."""
    if not os.access(places.CLONE, os.W_OK):
        return f"{places.CLONE} cannot be written, so its library cannot be built"
    done = subprocess.run([*_builder(), "--find"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().removeprefix("error: ")


def _builder() -> list[str]:
    return [sys.executable, str(places.BUILDER)]
