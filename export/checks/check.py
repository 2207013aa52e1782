"""The checks that every export ends with.

In: saved graphs and the checkpoints that they were made from. Out: `Check`s, printed as a table. A
check beyond its limit is an error. Graphs run in ONNX Runtime, and are compared with the PyTorch
models if torch is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent

from commands.errors import UserError
from commands.extras import install_command
from commands.progress import progress
from commands.tables import text_table
from export.checks.codec_checks import check_codec
from export.checks.codec_parity import check_codec_parity
from export.checks.lm_checks import check_language_model
from export.checks.lm_parity import Reference, compare_with, run_pytorch
from export.checks.torch_threads import fitting_threads
from export.readers.checkpoint import Checkpoint
from export.readers.codec_checkpoint import CodecCheckpoint
from runtime.bundle.manifest import Check, GraphSpec

Step = Callable[[], list[Check]]
PARITY_NEEDS = ("torch", "transformers")


def parity_is_possible() -> bool:
    """Whether the PyTorch models can be loaded here; nothing is imported to find out."""
    return all(find_spec(package) is not None for package in PARITY_NEEDS)


def decide_comparison(wanted: bool | None) -> bool:
    """Whether to compare with PyTorch. wanted: None to compare if that is possible.

    Raises:
        UserError: a comparison is wanted and not possible.
    """
    if wanted and not parity_is_possible():
        raise UserError(
            f"--compare needs {' and '.join(PARITY_NEEDS)}, which are not installed here; "
            f"install them: {install_command('export', 'train')}"
        )
    return parity_is_possible() if wanted is None else wanted


def check_steps(
    folder: Path,
    graphs: Mapping[str, GraphSpec],
    checkpoint: Checkpoint,
    codec: CodecCheckpoint,
) -> dict[str, Step]:
    """Checks in ONNX Runtime, by name. Each step loads its graphs and releases them."""
    return {
        "check language model": lambda: check_language_model(checkpoint, folder, graphs),
        "check codec": lambda: check_codec(folder, graphs, codec.config),
    }


def comparison_steps(
    folder: Path,
    graphs: Mapping[str, GraphSpec],
    checkpoint: Checkpoint,
    codec: CodecCheckpoint,
) -> dict[str, Step]:
    """Comparisons with PyTorch, by name and in order. PyTorch computes before graphs are loaded."""
    computed: list[Reference] = []

    def compute() -> list[Check]:
        with fitting_threads(checkpoint.tensors):
            computed.append(run_pytorch(checkpoint))
        return []

    def compare_codec() -> list[Check]:
        with fitting_threads(codec.tensors):
            return check_codec_parity(folder, graphs, codec.folder)

    return {
        "compute in PyTorch": compute,
        "compare language model": lambda: compare_with(computed.pop(), checkpoint, folder, graphs),
        "compare codec": compare_codec,
    }


def run_steps(steps: Mapping[str, Step]) -> list[Check]:
    """Run them in order, printing progress."""
    checks = []
    for name, step in steps.items():
        with progress(name):
            checks += step()
    return checks


def refuse_failures(checks: Iterable[Check], *, calibrated: bool) -> None:
    """Raise `UserError` naming every check that is beyond its limit. NaN is beyond every limit.

    calibrated: weights are in few bits, with the scales of a calibration.
    """
    failed = [check for check in checks if not check.measured <= check.limit]
    if failed:
        figures = "; ".join(f"{c.name}: {c.measured:.3g} > {c.limit:.3g}" for c in failed)
        raise UserError(
            f"the exported graphs fail their checks, so nothing is written ({figures}); "
            f"{_usual_reason(failed, calibrated)}"
        )


def _usual_reason(failed: Iterable[Check], calibrated: bool) -> str:
    if calibrated and all(_follows_scales(check.name) for check in failed):
        return (
            "scales that are too coarse for the model are the usual reason: calibrate again with "
            "the default --method, --activations and --weights, or with --budget or --snr"
        )
    return "damaged weights (NaN, infinity) are the usual reason"


def _follows_scales(name: str) -> bool:
    """Whether a check compares values that few bits change."""
    return "not finite" not in name and name.startswith(("backbone", "share of codes", "codec_de"))


def format_checks(checks: Iterable[Check]) -> str:
    """A table for a terminal."""
    rows = [(check.name, f"{check.measured:.2g}", f"{check.limit:.2g}") for check in checks]
    return indent(text_table(("check", "measured", "limit"), rows), "  ").rstrip()
