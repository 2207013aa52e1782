"""The runtime stays lean: what it imports, seen from a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commands.version import VERSION

HEAVY = (
    "torch",
    "onnx",
    "onnxscript",
    "onnx_ir",
    "transformers",
    "scipy",
    "train",
    "export",
    "evaluation",
)

SPEAK = """
import runtime.tts
runtime.tts.main(["--engine", {engine!r}, "One. Two.", "-o", {output!r}])
"""
HELP = """
import contextlib, {module}
with contextlib.suppress(SystemExit):
    {module}.main(["--help"])
"""


def modules_after(code: str) -> set[str]:
    """Top-level names of the modules that a new process has after running `code`."""
    code += "\nimport sys\nprint('MODULES', *sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("MODULES ")[1].split())


def test_speaking_imports_nothing_heavy(plain_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    modules = modules_after(SPEAK.format(engine=str(plain_folder), output=str(output)))
    assert output.is_file()
    assert not modules.intersection(HEAVY)


NOT_TO_SPEAK = ("onnxruntime", "safetensors", "soundfile", "soxr", "tokenizers")


def test_native_speech_needs_no_more_than_it_uses(tiny_native_engine: Path, tmp_path: Path) -> None:
    """Not even to be there: its import fails."""
    output = tmp_path / "out.wav"
    speak = SPEAK.format(engine=str(tiny_native_engine), output=str(output))
    missing = f"import sys\nsys.modules.update(dict.fromkeys({NOT_TO_SPEAK}))\n"
    modules = modules_after(missing + speak)
    assert output.is_file()
    assert not modules.intersection(HEAVY)
    assert not modules_after(speak).intersection(NOT_TO_SPEAK)


@pytest.mark.parametrize(
    "module",
    [
        *("runtime.tts", "runtime.chat", "runtime.serve", "runtime.batch"),
        *("runtime.profile", "runtime.gpu_check"),
    ],
)
def test_help_needs_the_standard_library_only(module: str) -> None:
    modules = modules_after(HELP.format(module=module))
    assert not modules.intersection((*HEAVY, "numpy", "onnxruntime", "msgspec", "tokenizers"))


def test_public_names() -> None:
    import runtime

    classes = set(runtime.__all__) - {"__version__"}
    assert {name: getattr(runtime, name).__name__ for name in classes} == {
        name: name for name in classes
    }
    assert runtime.__version__ == VERSION
    with pytest.raises(AttributeError, match="no attribute 'TTSS'"):
        _ = runtime.TTSS
