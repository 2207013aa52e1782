"""`python -m export.emulate`: hear on a CPU what half precision sounds like on a GPU.

In: a bundle in half precision. Out: a bundle that ONNX Runtime speaks from on the CPU. Its graphs
round as the originals do on a GPU (`export.graph.half_session`). It is for listening and judging,
not for speed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.run import run_cli

DESCRIPTION = """\
Copy a bundle in half precision so that it runs on a CPU and rounds as on a GPU.
On a CPU, ONNX Runtime itself has no bfloat16 arithmetic, and does not round
float16 after each operator."""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit status."""
    return run_cli(_command, argv)


def _command(argv: Sequence[str] | None) -> None:
    parser = CommandParser(prog="python -m export.emulate", description=DESCRIPTION)
    parser.add_argument("bundle", type=Path, help="bundle in half precision")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="directory to write or replace"
    )
    arguments = parser.parse_args(argv)
    emulated = emulate_bundle(arguments.bundle, arguments.output)
    print(f"{arguments.output}: {', '.join(emulated)} round as on a GPU")


def emulate_bundle(source: Path, output: Path) -> list[str]:
    """Write the copy to `output`; returns the names of the graphs that are in half precision.

    Raises:
        UserError: not a bundle, a damaged one, or one without half precision.
    """
    import shutil

    from export.bundle.writer import bundle_folder, publish_bundle
    from export.graph.half_session import write_rounding_copy
    from runtime.bundle.loading import load_bundle

    bundle = load_bundle(source)
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


if __name__ == "__main__":
    sys.exit(main())
