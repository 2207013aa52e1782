"""`python -m export.emulate`: hear on a CPU how a bundle in half precision sounds on a GPU.

In: a bundle in half precision. Out: a bundle that ONNX Runtime runs on the CPU. Its graphs round as
the originals do on a GPU (`export.graph.half_session`). It is for listening and judging; it is
slow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_output
from commands.run import run_command

DESCRIPTION = """\
Copy a bundle in half precision so that it runs on a CPU and rounds as on a GPU.
On a CPU, ONNX Runtime itself has no bfloat16 arithmetic, and does not round
float16 after each operator."""


def run(arguments: argparse.Namespace) -> None:
    """Write the copy. Raises `UserError`."""
    emulated = emulate_bundle(arguments.bundle, arguments.output)
    print(f"{arguments.output}: {', '.join(emulated)} round as on a GPU")


def emulate_bundle(source: Path, output: Path) -> list[str]:
    """Write the copy to `output`; returns the names of the graphs that are in half precision.

    Raises:
        UserError: not a bundle, a damaged one, or one without graphs in half precision.
    """
    import shutil

    from export.bundle.writer import bundle_folder, publish_bundle
    from export.graph.half_session import write_rounding_copy
    from runtime.bundle.loading import load_bundle
    from runtime.bundle.names import ONNXRUNTIME

    bundle = load_bundle(source)
    if (kind := bundle.manifest.engine.kind) != ONNXRUNTIME:
        raise UserError(
            f"{source}: is for {kind} and holds no graphs; export the model again with --dialect "
            "portable or basic, and --precision fp16 or bf16"
        )
    with bundle_folder(output) as folder:
        for file in bundle.manifest.files:
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(bundle.path(file), folder / file)
        emulated = [
            name
            for name, spec in bundle.manifest.graphs.items()
            if write_rounding_copy(bundle.path(spec.file), folder / spec.file)
        ]
        if not emulated:
            raise UserError(f"{source}: has no graph in half precision; it runs as it is")
        publish_bundle(folder, bundle.manifest, output)
    return emulated


def make_parser() -> CommandParser:
    parser = command_parser("export.emulate", DESCRIPTION)
    parser.add_argument("bundle", type=Path, help="bundle in half precision")
    add_output(parser, "bundle to write or replace")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
