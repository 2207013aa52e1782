"""A short version of the demo voice's recipe: the same configurations with a few steps each.

In: the folder for its runs. Out: `configs` in it, the recipe's YAML files with their paths moved to
that folder and their lengths reduced. `make rehearsal` runs `make voice` with them. It takes
minutes and shows whether the hours of the full recipe would succeed. Its models do not speak.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.arguments import CommandParser, command_parser
from commands.run import run_command
from formats.files.atomic import write_text
from formats.files.strict_fields import read_yaml

RECIPE = Path(__file__).parent
RECIPE_RUNS = "runs/demo"  # where the recipe's files keep everything
LM_STEPS, TUNED_STEPS = 6, 9  # a tuned model continues the same run
CODEC_STEPS, DECODER_STEPS, TUNED_DECODER_STEPS = 6, 6, 9
VALIDATION_EXAMPLES = 4


def shorten(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the file `name` with a few steps; everything else is unchanged."""
    if "tokenizer" in config:  # of the codec
        decoder_steps = TUNED_DECODER_STEPS if "tuned" in name else DECODER_STEPS
        tokenizer = config["tokenizer"] | {"steps": CODEC_STEPS, "warmup_steps": 1}
        decoder = config["decoder"] | {"steps": decoder_steps, "warmup_steps": 1}
        decoder["adversary_from"] = DECODER_STEPS // 2
        return config | {"tokenizer": tokenizer, "decoder": decoder}
    steps = TUNED_STEPS if "tuned" in name else LM_STEPS
    return config | {
        "max_steps": steps,
        "data": config["data"] | {"validation_examples": VALIDATION_EXAMPLES},
        "optimizer": config["optimizer"] | {"warmup_steps": 1},
        "save_every": LM_STEPS,
        "evaluate_every": LM_STEPS,
        "log_every": 1,
    }


def move(value: Any, runs: Path) -> Any:
    """A copy of `value` with every path under the recipe's runs moved to `runs`."""
    if isinstance(value, dict):
        return {key: move(inner, runs) for key, inner in value.items()}
    if isinstance(value, list):
        return [move(inner, runs) for inner in value]
    if isinstance(value, str) and value.startswith(f"{RECIPE_RUNS}/"):
        return str(runs / value.removeprefix(f"{RECIPE_RUNS}/"))
    return value


def write_configs(runs: Path) -> None:
    """Write all of the recipe's configurations, shortened, into `runs`/configs."""
    import yaml

    folder = runs / "configs"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(RECIPE.glob("*.yaml")):
        config = shorten(path.stem, read_yaml(path))
        written = yaml.safe_dump(move(config, runs), sort_keys=False)
        write_text(folder / path.name, written)


def run(arguments: argparse.Namespace) -> None:
    """Write the configurations."""
    write_configs(arguments.runs)


def make_parser() -> CommandParser:
    parser = command_parser(
        "samples.demo_voice.rehearsal", "Write the demo voice's recipe with a few steps each."
    )
    parser.add_argument("runs", type=Path, metavar="DIR", help="folder for the whole rehearsal")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
