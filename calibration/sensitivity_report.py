"""The cost of each weight of a language model, as a table and, with matplotlib, as a picture.

In: sensitivities. Out: `sensitivity.json`, `sensitivity.md` and `sensitivity.png` in the
calibration directory, for people. Exports do not read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from calibration.measurement.fidelity import Fidelity
from calibration.sensitivity import Sensitivity
from commands.tables import markdown_table
from formats.files.atomic import write_json, write_text

JSON_FILE, TABLE_FILE, PICTURE_FILE = "sensitivity.json", "sensitivity.md", "sensitivity.png"


def write_sensitivity(
    folder: Path, sensitivity: Sensitivity[Fidelity], excluded: Sequence[str]
) -> None:
    """Write all files. Without matplotlib there is no picture, and a line says so."""
    rows = [
        {
            "weight": name,
            "kl_divergence": fidelity.kl_divergence,
            "agreement": fidelity.agreement,
            "excluded": name in excluded,
        }
        for name, fidelity in sensitivity.alone.items()
    ]
    write_json(folder / JSON_FILE, rows)
    write_text(folder / TABLE_FILE, _format_sensitivity(sensitivity, excluded))
    if find_spec("matplotlib") is None:
        print(f"no {PICTURE_FILE}: matplotlib is not installed here")
        return
    _draw(folder / PICTURE_FILE, sensitivity, excluded)


def _format_sensitivity(sensitivity: Sensitivity[Fidelity], excluded: Sequence[str]) -> str:
    """A Markdown table, the most sensitive weight first."""
    rows = [
        (
            name,
            f"{fidelity.kl_divergence:.2e}",
            f"{fidelity.agreement:.1%}",
            "left out" if name in excluded else "",
        )
        for name, fidelity in sensitivity.alone.items()
    ]
    return markdown_table(("the only quantized weight", "KL, nats", "agreement", ""), rows)


def _draw(path: Path, sensitivity: Sensitivity[Fidelity], excluded: Sequence[str]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = sensitivity.ranked()[::-1]  # bars are drawn from below
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.18 * len(names)), layout="constrained")
    colours = ["tab:red" if name in excluded else "tab:blue" for name in names]
    values = [sensitivity.alone[name].kl_divergence for name in names]
    axes.barh(names, values, color=colours)
    axes.set_xscale("log")
    axes.set_xlabel("KL divergence from float32 with this weight quantized alone, nats a code")
    axes.tick_params(axis="y", labelsize=6)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
