"""The tables of docs/devices.md and of the README, as Markdown.

In: entries of reports, and the published bandwidths. Out: text for the blocks between markers.
Whatever was not measured says so in its own table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.device_page.bandwidths import DEVICES
from benchmarks.device_page.collection import MODELS, Entry
from benchmarks.device_page.floors import FLOOR_FORMATS, least_real_time_factor, step_bytes
from benchmarks.published_size import published_config
from commands.tables import markdown_table

FLOOR_HEADS = (3, 6, 12)
KINDS = {
    "native": "native",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
}
README_ROWS = (  # of the native engine: model, heads, precision
    *(("demo", 6, "fp32"), ("demo", 6, "int8")),
    *(("published", 12, "int8"), ("published", 12, "int4")),
)
MOST_README_ROWS = 8
COMPUTED = "Computed, not measured"
DASH = "–"
DISTURBED = (
    "\nSome were measured beside other work, which [the page](docs/devices.md#measured) names.\n"
)


def measured_table(entries: Sequence[Entry]) -> str:
    """A line for each bundle of each report, and one for each machine."""
    if not entries:
        return "No report is there yet.\n"
    titles = ["device", "model", "engine", "precision", "threads", "first audio", "RTF"]
    titles += ["step", "its least", "share of the limit", "memory", "report"]
    return markdown_table(titles, [_measured_row(entry) for entry in entries]) + _machines(entries)


def floor_tables() -> str:
    """What reading the weights takes at least, on devices by their published bandwidth."""
    titles = ["device", "GB/s", *FLOOR_FORMATS]
    steps, factors = [], []
    for device in DEVICES:
        columns = [f"{device.published:,.6g}"]
        times = {
            form: [
                step_bytes(published_config(heads), form) / device.bytes_per_second
                for heads in FLOOR_HEADS
            ]
            for form in FLOOR_FORMATS
        }
        steps.append([device.name, *columns, *(_triple(times[f], 1e3) for f in FLOOR_FORMATS)])
        shares = {form: _factors(times[form]) for form in FLOOR_FORMATS}
        factors.append([device.name, *columns, *(_triple(shares[f]) for f in FLOOR_FORMATS)])
    return (
        f"{COMPUTED}: least time of a step, ms, with 3 / 6 / 12 heads.\n\n"
        f"{markdown_table(titles, steps)}\n"
        f"{COMPUTED}: least real-time factor of the steps, with 3 / 6 / 12 heads; below 1 is "
        f"faster than speech.\n\n{markdown_table(titles, factors)}\n"
        f"Computed: what a step reads, MB, with 3 / 6 / 12 heads.\n\n"
        f"{markdown_table(['', *FLOOR_FORMATS], [_bytes()])}\n{_sources()}"
    )


def readme_table(entries: Sequence[Entry]) -> str:
    """At most eight lines: the native engine with the demo voice and at the published size."""
    chosen = [
        entry
        for model, heads, precision in README_ROWS
        for entry in entries
        if (entry.model, entry.subject.heads, entry.subject.precision) == (model, heads, precision)
        and entry.subject.kind == "native"
    ]
    if not chosen:
        return "Nothing is measured yet.\n"
    titles = ["native engine", "on", "first audio", "real-time factor", "step"]
    shown = chosen[:MOST_README_ROWS]
    table = markdown_table([*titles, "share of the limit"], [_readme_row(entry) for entry in shown])
    return table + (DISTURBED if any(entry.report.noise.warnings for entry in shown) else "")


def _measured_row(entry: Entry) -> list[str]:
    subject = entry.subject
    least = entry.least_step_seconds
    return [
        entry.device,
        _model(entry),
        KINDS.get(subject.kind, subject.kind),
        _precisions(entry),
        str(subject.threads),
        _milliseconds(subject.first_audio.p50),
        f"{subject.real_time_factor.p50:.3f}",
        _milliseconds(entry.step_seconds),
        _milliseconds(least),
        share_of_limit(entry),
        _memory(entry),
        entry.report.created[:10],
    ]


def _machines(entries: Sequence[Entry]) -> str:
    """What the devices are, and how much else they did."""
    lines: dict[str, None] = {}  # each once, in order
    for entry in entries:
        machine, noise = entry.report.machine, entry.report.noise
        gpu = f", {machine.gpu}" if machine.gpu else ""
        said = f"{machine.processor}{gpu}, {machine.processors} logical processors"
        lines.setdefault(f"- *{entry.device}*: {said}, {machine.system}.\n", None)
        for warning in noise.warnings:
            lines.setdefault(f"- `{entry.path.name}`: {warning}\n", None)
    return "\n" + "".join(lines)


def _readme_row(entry: Entry) -> list[str]:
    subject = entry.subject
    threads = f"{subject.threads} thread{'s' if subject.threads > 1 else ''}"
    return [
        f"{_model(entry)}, {_precisions(entry)}",
        f"{entry.device}, {threads}",
        _milliseconds(subject.first_audio.p50),
        f"{subject.real_time_factor.p50:.2f}",
        _milliseconds(entry.step_seconds),
        share_of_limit(entry),
    ]


def share_of_limit(entry: Entry) -> str:
    """The least time of a step over its time, and what bounds it."""
    least, step = entry.least_step_seconds, entry.step_seconds
    if least is None or not step:
        return DASH
    by = entry.limited_by if least <= step else "it stays in caches"
    return f"{100 * least / step:.0f} % ({by})"


def _model(entry: Entry) -> str:
    return f"{MODELS[entry.model]}, {entry.subject.heads} heads"


def _memory(entry: Entry) -> str:
    """What the process took after the runs, which is no bundle's if it ran several."""
    taken = entry.subject.resident_bytes
    if taken is None or len(entry.report.subjects) > 1:
        return DASH
    return f"{taken / 2**20:.0f} MiB"


def _precisions(entry: Entry) -> str:
    precision, codec = entry.subject.precision, entry.subject.codec_precision
    return precision if codec == precision else f"{precision}, codec {codec}"


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return DASH
    return f"{1e3 * seconds:.0f} ms" if seconds >= 0.01 else f"{1e3 * seconds:#.3g} ms"


def _factors(times: Sequence[float]) -> list[float]:
    return [
        least_real_time_factor(seconds, published_config(heads))
        for heads, seconds in zip(FLOOR_HEADS, times, strict=True)
    ]


def _triple(values: Sequence[float], scale: float = 1.0) -> str:
    return " / ".join(two_digits(scale * value) for value in values)


def two_digits(value: float) -> str:
    """Two digits that count, without an exponent."""
    return f"{value:.0f}" if value >= 10 else f"{value:#.2g}"


def _bytes() -> list[str]:
    sizes = {
        form: [step_bytes(published_config(heads), form) / 1e6 for heads in FLOOR_HEADS]
        for form in FLOOR_FORMATS
    }
    return ["a step", *(" / ".join(f"{size:,.0f}" for size in row) for row in sizes.values())]


def _sources() -> str:
    return "Bandwidths, as the makers publish them:\n\n" + "".join(_source_lines())


def _source_lines() -> Iterator[str]:
    for device in DEVICES:
        width = f"{device.bits} bit × {device.gbit_per_pin:g} Gbit/s"
        yield f"- {device.name}: {width}; {device.document}.\n"
