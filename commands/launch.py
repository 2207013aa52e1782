"""How the running command was started: `python -m runtime.tts`, or its console script `slm-tts`.

In: a command's module. Out: the words that start it, for usage lines and messages. Names of scripts
follow one rule (docs/commands.md), which pyproject.toml repeats.
"""

from __future__ import annotations

import sys
from pathlib import PurePath

VERBS = {  # package -> what it does, as scripts say it
    "runtime": "",
    "train": "train",
    "export": "export",
    "calibration": "calibrate",
    "evaluation": "evaluate",
}
FIRST_COMMANDS = ("export.build", "calibration.run", "evaluation.speech")  # named by the verb only
_MODULE = "python -m "


def module_command(module: str) -> str:
    """`python -m module`."""
    return f"{_MODULE}{module}"


def script_name(module: str) -> str | None:
    """The console script of a command; None for packages that are not installed."""
    package, _, name = module.partition(".")
    if package not in VERBS:
        return None
    own = "" if module in FIRST_COMMANDS else name.replace("_", "-")
    return "-".join(filter(None, ("slm", VERBS[package], own)))


def started_as(module: str) -> str:
    """The words that started the command: its script if that is running, else `python -m`."""
    script = script_name(module)
    running = PurePath(sys.argv[0] if sys.argv else "").name
    started = {running, running.removesuffix(".exe"), running.removesuffix("-script.py")}
    return script if script in started else module_command(module)
