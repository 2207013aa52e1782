"""Two bundles that were measured in turn, compared in plain sentences.

In: the runs of both, the n-th of one beside the n-th of the other. Out: comparisons: the ratio of
each figure with its interval, and a sentence. What lies within the interval is noise, and the
sentence says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from runtime.engines import observing
from runtime.profiling.report import Comparison
from runtime.profiling.runs import Run
from runtime.profiling.statistics import paired_ratio

LEAST_DIFFERENCE = 0.01  # smaller ones matter to nobody, however sure they are
Figure = Callable[[Run], float]
FIGURES: dict[str, Figure] = {
    "first audio": lambda run: run.first_audio,
    "real-time factor": lambda run: run.real_time_factor,
    "prefill": lambda run: run.seconds_of(observing.PREFILL, observing.DEVICE_PREFILL),
    "step": lambda run: run.step_seconds,
    "codec": lambda run: run.seconds_of(observing.CODEC_CHUNK) / run.audio_seconds,
}
_COUNTS: dict[str, Figure] = {
    "codec chunks": lambda run: run.calls_of(observing.CODEC_CHUNK),
    "seconds of audio": lambda run: run.audio_seconds,
}


def compare_runs(
    baseline: str, baseline_runs: Sequence[Run], other: str, other_runs: Sequence[Run]
) -> list[Comparison]:
    """All figures that both have. Of counts, only those that differ."""
    found = []
    for figure, measure in FIGURES.items():
        ours, theirs = ([*map(measure, runs)] for runs in (baseline_runs, other_runs))
        if all(ours) and all(theirs):
            ratio, low, high = paired_ratio(ours, theirs)
            said = say_ratio(figure, other, ratio, low, high)
            found.append(_comparison(figure, baseline, other, (ratio, low, high), said))
    for figure, measure in _COUNTS.items():
        ours, theirs = ([*map(measure, runs)] for runs in (baseline_runs, other_runs))
        before, after = median(ours), median(theirs)
        if before and after and abs(before / after - 1) > LEAST_DIFFERENCE:
            said = f"{other} makes {after:.3g} {figure} a run instead of {before:.3g}."
            found.append(_comparison(figure, baseline, other, paired_ratio(ours, theirs), said))
    return found


def _comparison(
    figure: str, baseline: str, other: str, ratios: tuple[float, float, float], sentence: str
) -> Comparison:
    ratio, low, high = ratios
    return Comparison(
        figure=figure,
        baseline=baseline,
        other=other,
        ratio=ratio,
        low=low,
        high=high,
        sentence=sentence,
    )


def say_ratio(figure: str, other: str, ratio: float, low: float, high: float) -> str:
    """ "B: step is 1.42 times faster (1.38 to 1.47)." ratio: baseline / other."""
    if low <= 1.0 <= high:
        return f"{other}: {figure} does not differ beyond noise ({low:.2f} to {high:.2f})."
    if abs(ratio - 1) < LEAST_DIFFERENCE:
        return f"{other}: {figure} differs by less than a hundredth ({low:.3f} to {high:.3f})."
    if ratio > 1:
        return f"{other}: {figure} is {ratio:.2f} times faster ({low:.2f} to {high:.2f})."
    slower = f"{1 / ratio:.2f} times slower ({1 / high:.2f} to {1 / low:.2f})"
    return f"{other}: {figure} is {slower}."
