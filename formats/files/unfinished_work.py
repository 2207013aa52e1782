"""Keeps the unfinished work of a command, so that the same command can continue it.

In: the output that a command will write, and the files and options that the work depends on. Out: a
hidden folder beside the output, which stays when the command is stopped. The same command finds it
and goes on. A command with other inputs is refused. It does not know what the work is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.errors import UserError
from formats.files.atomic import write_atomically

INPUTS_FILE = "inputs.json"
Inputs = Mapping[str, Any]  # plain values by name


def unfinished_folder(output: Path) -> Path:
    """Where unfinished work for `output` is kept."""
    return output.with_name(f".{output.name}.unfinished")


def begin_work(folder: Path, inputs: Inputs) -> None:
    """Make `folder` for work from `inputs`, or check that its work is from the same.

    Raises:
        UserError: the folder holds work from other inputs.
    """
    check_work(folder, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    note_inputs(folder, inputs)


def check_work(folder: Path, inputs: Inputs) -> None:
    """Check that the work in `folder`, if there is any, is from `inputs`. Raises `UserError`."""
    differing = differing_inputs(folder, inputs)
    if differing:
        raise UserError(
            f"{folder}: was begun with another {' and another '.join(differing)}; give the same "
            "command as then, or delete the folder to begin again"
        )
    if differing is None and folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"{folder}: does not say what it was made from (no {INPUTS_FILE}); delete it to begin "
            "again"
        )


def differing_inputs(folder: Path, inputs: Inputs) -> list[str] | None:
    """Names of inputs that differ from those of the work in `folder`; None if it has no note."""
    try:
        noted = json.loads((folder / INPUTS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        noted = {}
    return compare_inputs(noted, inputs)


def compare_inputs(noted: Inputs, inputs: Inputs) -> list[str]:
    """The sorted names whose values differ, or that only one side has."""
    given = json.loads(json.dumps(inputs))
    missing = object()
    names = sorted({*noted, *given})
    return [name for name in names if noted.get(name, missing) != given.get(name, missing)]


def note_inputs(folder: Path, inputs: Inputs) -> None:
    """Write down in `folder` what its work is made from."""
    write_atomically(folder / INPUTS_FILE, json.dumps(inputs, sort_keys=True).encode())


def remove_work(folder: Path) -> None:
    """Remove the folder, when the output is in place."""
    shutil.rmtree(folder, ignore_errors=True)
