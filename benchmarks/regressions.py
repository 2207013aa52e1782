"""What became slower or faster between two reports, beyond noise.

In: two reports of the same bundles on the same machine. Out: why they cannot be compared, or the
changes, each with a sentence. A figure has changed if the 95 % intervals of its medians do not
overlap and the medians differ by more than a tolerance, and by more than the machine itself did: an
interval knows how runs differ, but not that others were busy during all of them. It reads no files
and measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from runtime.profiling.report import Report, Subject, Summary

Verdict = Literal["faster", "slower", "same", "noise", "other"]
FIRST_AUDIO, FACTOR = "first audio", "real-time factor"


@dataclass(frozen=True)
class Change:
    """One figure of one bundle. old, new: medians, as text with their unit. ratio: new / old.

    verdict "noise": it has changed, but no more than the machine. "other": a fact that is neither
    faster nor slower, such as the number of chunks. sentence: what it means; empty if nothing has
    changed.
    """

    subject: str
    figure: str
    old: str
    new: str
    ratio: float | None
    verdict: Verdict
    sentence: str = ""


def reasons_against(old: Report, new: Report) -> list[str]:
    """Why the reports cannot be compared, each as a clause; empty if they can."""
    reasons = []
    for field in ("processor", "architecture", "processors", "features", "gpu"):
        before, after = getattr(old.machine, field), getattr(new.machine, field)
        if before != after:
            reasons.append(f"another machine ({field} {_plain(before)}, then {_plain(after)})")
    if old.text != new.text:
        reasons.append("another text")
    pairs, missing = pair_subjects(old, new)
    reasons += [f"only one of them has {label!r}" for label in missing]
    for label, before_and_after in pairs.items():
        reasons += _reasons_of(label, *before_and_after)
    return reasons


def compare_reports(old: Report, new: Report, tolerance: float) -> list[Change]:
    """Every figure that both reports have, of every bundle that both have.

    tolerance: share of the old median that a change must exceed.
    """
    pairs, _ = pair_subjects(old, new)
    return [
        change
        for label, (before, after) in pairs.items()
        for change in _compare_subjects(
            label,
            before,
            after,
            tolerance,
            max(disturbance(old, before.threads), disturbance(new, after.threads)),
        )
    ]


def pair_subjects(old: Report, new: Report) -> tuple[dict[str, tuple[Subject, Subject]], list[str]]:
    """The same bundles of both reports by their label, and labels that only one report has.

    Two reports of one bundle each are compared whatever the labels are.
    """
    before = {subject.label: subject for subject in old.subjects}
    after = {subject.label: subject for subject in new.subjects}
    if len(before) == len(after) == 1:
        [(label, one)], [other] = before.items(), after.values()
        return {label: (one, other)}, []
    common = {label: (before[label], after[label]) for label in before if label in after}
    return common, sorted(before.keys() ^ after.keys())


def other_versions(old: Report, new: Report) -> list[str]:
    """Packages and Python versions that differ, as clauses. They forbid no comparison: whether a
    new version is slower may be the question."""
    before = {"Python": old.machine.python} | old.machine.packages
    after = {"Python": new.machine.python} | new.machine.packages
    return [
        f"{name} {before.get(name, 'missing')}, then {after.get(name, 'missing')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def disturbance(report: Report, threads: int) -> float:
    """By what share of a time the machine alone may have changed it: its clock, and others who had
    processors that the engine's threads wanted."""
    noise, processors = report.noise, max(1, report.machine.processors)
    busy = threads + (noise.others_share or 0.0) * processors
    return max(1.0, busy / processors) / max(noise.slowest_clock, 0.01) - 1.0


def is_beyond_noise(old: Summary, new: Summary, tolerance: float) -> bool:
    """Whether the medians' intervals lie apart, and the medians by more than the tolerance."""
    lie_apart = new.low > old.high or new.high < old.low
    return lie_apart and abs(new.p50 - old.p50) > tolerance * abs(old.p50)


def _reasons_of(label: str, old: Subject, new: Subject) -> Iterator[str]:
    for field in ("kind", "precision", "codec_precision", "heads", "threads"):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield f"{label}: another {field.replace('_', ' ')} ({before}, then {after})"
    if old.bundle_sha256 != new.bundle_sha256:
        hashes = f"{old.bundle_sha256[:12]}, then {new.bundle_sha256[:12]}"
        yield f"{label}: another bundle ({hashes})"


def _compare_subjects(
    label: str, old: Subject, new: Subject, tolerance: float, disturbed: float
) -> Iterator[Change]:
    after = _figures(new)
    for figure, summary in _figures(old).items():
        if figure in after:
            yield _compare_figure(label, figure, summary, after[figure], tolerance, disturbed)
    yield from _compare_facts(label, old, new)


def _figures(subject: Subject) -> dict[str, Summary]:
    """Everything that has an interval, by the name that a table gives it."""
    figures = {FIRST_AUDIO: subject.first_audio, FACTOR: subject.real_time_factor}
    figures |= {stage.name: stage.seconds for stage in subject.stages}
    figures |= {f"step after {each.context} positions": each.seconds for each in subject.contexts}
    return figures | {f"step of {each.rows} rows": each.seconds for each in subject.rows}


def _compare_figure(
    label: str, figure: str, old: Summary, new: Summary, tolerance: float, disturbed: float
) -> Change:
    texts = _text(figure, old.p50), _text(figure, new.p50)
    ratio = new.p50 / old.p50 if old.p50 > 0 else None
    if not is_beyond_noise(old, new, tolerance):
        return Change(label, figure, *texts, ratio, "same")
    if max(new.p50, old.p50) <= (1 + disturbed) * min(new.p50, old.p50):
        return Change(label, figure, *texts, ratio, "noise")
    verdict: Verdict = "slower" if new.p50 > old.p50 else "faster"
    percent = "" if ratio is None else f" ({100 * (ratio - 1):+.0f} %)"
    said = f"{label}: {_say(figure, new.p50 - old.p50)}: {texts[0]}, then {texts[1]}{percent}."
    return Change(label, figure, *texts, ratio, verdict, said)


def _compare_facts(label: str, old: Subject, new: Subject) -> Iterator[Change]:
    """What is counted, not timed."""
    for figure, before, after in (
        ("chunks of the utterance", len(old.timeline.chunks), len(new.timeline.chunks)),
        ("frames of the first chunk", _first_frames(old), _first_frames(new)),
        ("frames a step", old.frames_per_step, new.frames_per_step),
        ("bytes that a step reads", old.step_bytes, new.step_bytes),
        ("times that a player ran dry", old.playback.underruns, new.playback.underruns),
    ):
        if before is None or after is None or before == after:
            continue
        texts = f"{before:,.6g}", f"{after:,.6g}"
        said = f"{label}: {figure}: {texts[0]}, then {texts[1]}."
        yield Change(label, figure, *texts, after / before if before else None, "other", said)


def _first_frames(subject: Subject) -> int | None:
    return subject.timeline.chunks[0].frames if subject.timeline.chunks else None


def _say(figure: str, difference: float) -> str:
    more, size = difference > 0, abs(difference)
    if figure == FACTOR:
        return f"a second of speech takes {1e3 * size:.3g} ms {'more' if more else 'less'}"
    if figure == FIRST_AUDIO:
        return f"the first audio comes {1e3 * size:.3g} ms {'later' if more else 'earlier'}"
    name = figure if figure.startswith("step ") else figure.replace("_", " ")
    return f"{name} takes {1e3 * size:.3g} ms {'longer' if more else 'less'}"


def _text(figure: str, value: float) -> str:
    return f"{value:.4f}" if figure == FACTOR else f"{1e3 * value:.3f} ms"


def _plain(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return "[" + " ".join(map(str, value)) + "]"
    return "none" if value is None else str(value)


def count_verdicts(changes: Sequence[Change]) -> Mapping[Verdict, int]:
    """How many figures have each verdict."""
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    return {verdict: sum(one.verdict == verdict for one in changes) for verdict in verdicts}
