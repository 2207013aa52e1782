"""`python -m export.triton`: put a bundle into a model repository of Triton Inference Server.

In: a bundle. Out: a model of Triton in a folder of the repository, with a copy of the bundle. What
it does is `runtime.triton_model`, which the server's Python must be able to import.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_engine, add_output, add_threads
from commands.run import run_command
from commands.version import VERSION

DESCRIPTION = """\
Put a bundle into a model repository of Triton Inference Server, as a model of
its Python backend that streams."""
NAME = "slm_tts"
CONFIG_FILE = "config.pbtxt"
FIRST_VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")

MODEL = f'''\
"""Written by slm-deploy {VERSION}. Triton's Python needs that package: pip install WHEEL."""

from runtime.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
CONFIG = """\
# Written by slm-deploy {version}. One scheduler speaks all texts side by side, so there is one
# instance, and the server makes no batches.
name: {name}
backend: "python"
max_batch_size: 0
model_transaction_policy {{ decoupled: True }}
instance_group [{{ count: 1, kind: {kind} }}]
input [
  {{ name: "text", data_type: TYPE_STRING, dims: [1] }},
  {{ name: "voice", data_type: TYPE_STRING, dims: [1], optional: true }},
  {{ name: "seed", data_type: TYPE_UINT64, dims: [1], optional: true }}
]
output [
  {{ name: "audio", data_type: TYPE_FP32, dims: [-1] }},
  {{ name: "sample_rate", data_type: TYPE_INT32, dims: [1] }},
  {{ name: "finished", data_type: TYPE_BOOL, dims: [1] }}
]
"""


def run(arguments: argparse.Namespace) -> None:
    """Write the model. Raises `UserError`."""
    from runtime.scheduling.capacity import LEAST_WAITING

    streams, waiting = arguments.streams, arguments.waiting
    parameters = {
        "streams": streams,
        "waiting": max(LEAST_WAITING, streams) if waiting is None else waiting,
        "threads": arguments.threads,
        "EXECUTION_ENV_PATH": arguments.environment,
    }
    told = {name: str(value) for name, value in parameters.items() if value is not None}
    model = write_model(arguments.engine, arguments.output, arguments.name, told)
    print(f"wrote {model}; serve it with: tritonserver --model-repository {arguments.output}")


def write_model(
    engine: Path, repository: Path, name: str = NAME, parameters: dict[str, str] | None = None
) -> Path:
    """Write or replace the model `name` of a repository; returns its folder.

    parameters: see `runtime.triton_model.TritonSettings`; EXECUTION_ENV_PATH is the server's own.

    Raises:
        UserError: not a bundle, a damaged one, or a name that Triton does not take.
    """
    import shutil

    from formats.files.folders import FolderKind, publish_folder, unpublished_folder
    from runtime.bundle.loading import load_bundle
    from runtime.bundle.names import GPU_TARGETS, MANIFEST_FILE
    from runtime.triton_model import BUNDLE_FOLDER

    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name!r}: use letters, digits, _, - and . only")
    bundle = load_bundle(engine)
    is_gpu = bundle.manifest.engine.kind in GPU_TARGETS
    repository.mkdir(parents=True, exist_ok=True)
    kind = FolderKind("model of Triton", CONFIG_FILE)
    with unpublished_folder(repository / name, kind) as folder:
        copy = folder / FIRST_VERSION / BUNDLE_FOLDER
        for file in (MANIFEST_FILE, *bundle.manifest.files):
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / file, copy / file)
        (folder / FIRST_VERSION / "model.py").write_text(MODEL, "utf-8")
        (folder / CONFIG_FILE).write_text(_config(name, is_gpu, parameters or {}), "utf-8")
        publish_folder(folder, repository / name, kind)
    return repository / name


def _config(name: str, is_gpu: bool, parameters: dict[str, str]) -> str:
    """Protocol buffers as text; its strings are written as those of JSON."""
    kind = "KIND_GPU, gpus: [0]" if is_gpu else "KIND_CPU"
    lines = [CONFIG.format(version=VERSION, name=json.dumps(name), kind=kind)]
    for key, value in parameters.items():
        told = f"key: {json.dumps(key)}, value: {{ string_value: {json.dumps(value)} }}"
        lines.append(f"parameters {{ {told} }}\n")
    return "".join(lines)


def make_parser() -> CommandParser:
    parser = command_parser("export.triton", DESCRIPTION)
    add_engine(parser, "engine")
    add_output(parser, "model repository; other models in it stay")
    parser.add_argument(
        "--name", default=NAME, metavar="NAME", help=f"name of the model (default: {NAME})"
    )
    add_count(parser, "--streams", "texts that are spoken side by side", 8)
    purpose = "texts that may wait; more are refused (default: as many as streams, at least 4)"
    add_count(parser, "--waiting", purpose, least=0)
    add_threads(parser, "the engine (default: the physical cores)")
    parser.add_argument(
        "--environment",
        metavar="PATH",
        help="Python environment that has this package: a folder, or an archive as conda-pack "
        "writes it; without it, the server's own Python must have it",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
