"""A report as text for a terminal.

In: a `Report`. Out: lines. The page and the trace have more.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.profiling.first_audio import MEANINGS
from runtime.profiling.report import Limits, Point, Report, Subject, Summary

_COLUMNS = ("p50", "p95", "p99", "mean")


def format_report(report: Report) -> str:
    """All figures, with what disturbed them first."""
    blocks = [[f"warning: {warning}" for warning in report.noise.warnings]]
    blocks += [[_say_limits(limits) for limits in report.limits]]
    blocks += [[*_describe(subject)] for subject in report.subjects]
    if report.comparisons:
        baseline = report.comparisons[0].baseline
        sentences = [comparison.sentence for comparison in report.comparisons]
        blocks.append([f"compared with {baseline}, in turn:", *sentences])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _say_limits(limits: Limits) -> str:
    rates = {
        "fp32": limits.fp32_macs_per_second,
        "bf16": limits.bf16_macs_per_second,
        "int8": limits.int8_macs_per_second,
    }
    said = [f"{rate / 1e9:.0f} billion {name} products" for name, rate in rates.items() if rate]
    if limits.read_bytes_per_second:
        said.insert(0, f"{limits.read_bytes_per_second / 1e9:.1f} GB read")
    threads = f"{limits.threads} thread{'s' if limits.threads > 1 else ''}"
    return f"limits, {threads}, a second: {', '.join(said)} (measured by {limits.measured_by})"


def _describe(subject: Subject) -> Iterator[str]:
    yield subject.engine
    yield (
        f"{subject.runs} runs of {subject.audio_seconds:.2f} s of audio; "
        f"loaded in {subject.load_seconds:.2f} s; memory {_say_memory(subject)}"
        + ("" if subject.outside_stages is None else f"; {_say_outside(subject.outside_stages)}")
    )
    yield _say_playback(subject)
    if subject.look_ahead is not None:
        yield f"a look-ahead of {subject.look_ahead} frames: the first chunk's end is an estimate"
    yield ""
    yield f"{'':24}" + "".join(f"{name:>9}" for name in _COLUMNS) + f"{'count':>7}{'of limit':>10}"
    yield _row("first audio, ms", subject.first_audio, 1e3)
    for part, seconds in subject.first_audio_parts.items():
        yield f"  {part:22}{1e3 * seconds:>9.3f}{'':34}          {MEANINGS[part]}"
    yield _row("real-time factor", subject.real_time_factor)
    for stage in subject.stages:
        of_limit = None if stage.limit is None else stage.limit / stage.seconds.p50
        yield f"{_row(f'{stage.name}, ms', stage.seconds, 1e3, of_limit)}  {stage.meaning}"
    for point in (*subject.contexts, *subject.rows):
        yield _row(f"{_say_point(point)}, ms", point.seconds, 1e3)
    if subject.layers:
        yield ""
        yield from _describe_layers(subject)


def _row(name: str, summary: Summary, scale: float = 1.0, of_limit: float | None = None) -> str:
    figures = "".join(f"{scale * getattr(summary, column):>9.3f}" for column in _COLUMNS)
    share = "" if of_limit is None else f"{of_limit:.0%}"
    return f"{name:24}{figures}{summary.count:>7}{share:>10}"


def _say_memory(subject: Subject) -> str:
    said = [
        f"{size / 2**20:.0f} MiB {name}"
        for name, size in (("now", subject.resident_bytes), ("at most", subject.peak_bytes))
        if size is not None
    ]
    return ", ".join(said) or "unknown"


def _say_outside(share: float) -> str:
    return f"{100 * share:.1f} % of the time outside of the stages"


def _say_playback(subject: Subject) -> str:
    playback = subject.playback
    if playback.underruns:
        return (
            f"a player that starts at the first chunk runs dry {playback.underruns} times in "
            f"{playback.runs} runs, for {1e3 * playback.longest_wait:.0f} ms at most"
        )
    if playback.spare is None:
        return "the speech is one chunk"
    spare = 1e3 * playback.spare.p50
    return f"a player that starts at the first chunk never waits; {spare:.0f} ms to spare"


def _say_point(point: Point) -> str:
    if point.rows > 1:
        return f"step of {point.rows} rows"
    return f"step after {point.context}"


def _describe_layers(subject: Subject) -> Iterator[str]:
    """Each part of the model, all layers together: the page has every layer."""
    stages = dict.fromkeys(layer.stage for layer in subject.layers)
    for stage in stages:
        own = [layer for layer in subject.layers if layer.stage == stage]
        whole = sum(layer.seconds for layer in own)
        parts = dict.fromkeys(layer.part for layer in own)
        seconds = {
            part: sum(layer.seconds for layer in own if layer.part == part) for part in parts
        }
        shares = sorted(seconds.items(), key=lambda item: -item[1])
        said = ", ".join(f"{part} {value / whole:.0%}" for part, value in shares if whole)
        yield f"{stage}, {1e3 * whole:.3f} ms by parts: {said}"
