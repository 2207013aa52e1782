"""Command line: how fast an engine speaks, and where the time goes.

In: an engine directory and a text. Out: a table, and JSON on request: time to first audio,
real-time factor (compute time / audio time: below 1 is faster than speech), percentiles of every
stage, memory. The graphs run exactly as in `runtime.speech.synthesis`; each call is only timed.
"""

from __future__ import annotations

if __name__ == "__main__":
    import commands.early_interrupt  # noqa: F401 (for Ctrl-C during all other imports)

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.peak_memory import peak_memory_mb
from commands.run import run_cli
from formats.files.atomic import check_target, write_atomically
from runtime.engines.choices import add_run_with

if TYPE_CHECKING:
    from runtime.engines.graph import (
        Array,
        BackgroundGraph,
        BindableGraph,
        Call,
        Calls,
        Graph,
        LoopingGraph,
        Pending,
        States,
        StepLoop,
    )
    from runtime.engines.opening import OpenGraph
    from runtime.speech.synthesis import TTS

DEFAULT_TEXT = "The birds sang in the old garden while the rain fell softly."
PERCENTILES = (50, 95, 99)
STAGES = ("prefill", "step", "head", "device_prefill", "device_step", "codec_chunk")

_STAGE_MEANINGS = {
    "prefill": "backbone, all positions of the prompt",
    "step": "backbone, one position",
    "head": "codes and next embedding",
    "device_prefill": "GPU time: the prompt, backbone and head",
    "device_step": "GPU time: one step, backbone and head",
    "codec_chunk": "decoder, one chunk of audio",
}

Durations = Mapping[str, list[float]]  # stage -> seconds of every call


@dataclass
class Measurements:
    """What the runs brought, in seconds."""

    first_audio: list[float] = field(default_factory=list)
    real_time_factor: list[float] = field(default_factory=list)
    audio_seconds: list[float] = field(default_factory=list)
    outside_graphs: list[float] = field(default_factory=list)  # share of a run's time
    stages: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def forget(self) -> None:
        """The calls so far. The lists stay: what is being timed holds on to them."""
        for durations in self.stages.values():
            durations.clear()


class TimedGraph:
    """A graph that notes how long each of its calls takes."""

    def __init__(self, graph: Graph, name: str, durations: Durations) -> None:
        self.spec = graph.spec
        self.graph = graph
        self.name = name
        self.durations = durations

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        start = time.perf_counter()
        outputs = self.graph.run(inputs)
        self.durations[stage_of(self.name, inputs)].append(time.perf_counter() - start)
        return outputs


class TimedHostGraph(TimedGraph):
    """One that works on its caller's memory."""

    graph: BindableGraph

    def bind(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], states: States
    ) -> Call:
        call = self.graph.bind(inputs, outputs, states)
        return TimedCall(call, self.durations[stage_of(self.name, inputs)])


class TimedDeviceGraph(TimedGraph):
    """One that works in the background: each call is timed until its result was fetched."""

    graph: BackgroundGraph

    def open_calls(self) -> Calls:
        return TimedCalls(self.graph.open_calls(), self.durations[stage_of(self.name, {})])


class TimedDeviceBackbone(TimedGraph):
    """One whose engine runs the loop, and measures it on the GPU."""

    graph: LoopingGraph

    def step_loop(self, head: Graph, durations: Durations | None = None) -> StepLoop:
        assert isinstance(head, TimedGraph)
        return self.graph.step_loop(head.graph, self.durations)


class TimedCalls:
    """A row of calls in the background, each timed."""

    def __init__(self, calls: Calls, durations: list[float]) -> None:
        self._calls = calls
        self._durations = durations

    def start(self, inputs: Mapping[str, Array], dimensions: Mapping[str, int]) -> Pending:
        return TimedPending(self._calls.start(inputs, dimensions), self._durations)


class TimedPending:
    """A call in the background that notes how long it took."""

    def __init__(self, pending: Pending, durations: list[float]) -> None:
        self._pending = pending
        self._durations = durations
        self._start = time.perf_counter()

    def is_done(self) -> bool:
        return self._pending.is_done()

    def result(self) -> dict[str, Array]:
        outputs = self._pending.result()
        self._durations.append(time.perf_counter() - self._start)
        return outputs


class TimedCall:
    """A bound call that notes how long it takes."""

    def __init__(self, call: Call, durations: list[float]) -> None:
        self._call = call
        self._durations = durations

    def run(self) -> None:
        start = time.perf_counter()
        self._call.run()
        self._durations.append(time.perf_counter() - start)


def stage_of(graph: str, inputs: Mapping[str, Array]) -> str:
    """The stage that a call belongs to, told by its graph and its number of positions."""
    from runtime.bundle import names

    if graph == names.BACKBONE:
        return "prefill" if inputs[names.INPUTS_EMBEDS].shape[1] > 1 else "step"
    stages = {names.MTP_HEAD: "head", names.NTP_HEAD: "head", names.CODEC_DECODER: "codec_chunk"}
    return stages.get(graph, graph)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m runtime.profile", description="Measure how fast an engine speaks."
    )
    parser.add_argument("--engine", default="engine", metavar="DIR", help="default: engine")
    add_run_with(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: the physical cores")
    parser.add_argument("--text", default=DEFAULT_TEXT)
    parser.add_argument("--voice", metavar="NAME|FILE")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--warmup", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--max-steps", type=int, metavar="N", help="bound for each sentence")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    return parser.parse_args(argv)


def profile(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    if arguments.runs < 1 or arguments.warmup < 0:
        raise UserError("--runs takes 1 or more, --warmup 0 or more")
    if arguments.json:
        check_target(arguments.json)
    report = measure_engine(arguments)
    if arguments.json:
        write_atomically(arguments.json, (json.dumps(report, indent=2) + "\n").encode())
        print(f"wrote {arguments.json}", file=sys.stderr)
    print(format_report(report))


def measure_engine(arguments: argparse.Namespace) -> dict[str, Any]:
    """Load the engine, speak as often as asked, and return all figures."""
    from runtime.bundle.loading import load_bundle
    from runtime.engines.opening import open_engine
    from runtime.speech.synthesis import TTS

    start = time.perf_counter()
    bundle = load_bundle(arguments.engine)
    open_graph, engine = open_engine(bundle, arguments.run_with, arguments.threads)
    measurements = Measurements()
    tts = TTS(bundle, timed(open_graph, measurements.stages), engine)
    load_seconds = time.perf_counter() - start
    for run in range(-arguments.warmup, arguments.runs):
        if run == 0:
            measurements.forget()
        measure_run(tts, arguments, measurements, keep=run >= 0, seed=run + arguments.warmup)
    return summarize(tts, arguments, measurements, load_seconds)


def timed(open_graph: OpenGraph, durations: Durations) -> OpenGraph:
    """The same graphs, timed."""
    from runtime.engines.graph import BackgroundGraph, BindableGraph, LoopingGraph

    kinds = (  # the most able first
        (LoopingGraph, TimedDeviceBackbone),
        (BackgroundGraph, TimedDeviceGraph),
        (BindableGraph, TimedHostGraph),
    )

    def open_timed(name: str) -> Graph:
        graph = open_graph(name)
        timer = next((kind for able, kind in kinds if isinstance(graph, able)), TimedGraph)
        return timer(graph, name, durations)

    return open_timed


def measure_run(
    tts: TTS, arguments: argparse.Namespace, measurements: Measurements, keep: bool, seed: int
) -> None:
    """Stream the text once, as a listener would."""
    from runtime.speech.sampling import seeded

    sampling = seeded(tts.bundle.manifest.sampling, seed)
    inside_before = sum(map(sum, measurements.stages.values()))
    samples, first = 0, 0.0
    start = time.perf_counter()
    for chunk in tts.stream(
        arguments.text, voice=arguments.voice, sampling=sampling, max_steps=arguments.max_steps
    ):
        samples += len(chunk.audio)
        first = first or time.perf_counter() - start
    elapsed = time.perf_counter() - start
    if not samples:
        raise UserError("the model said nothing for this text; give another with --text")
    if keep:
        inside = sum(map(sum, measurements.stages.values())) - inside_before
        measurements.first_audio.append(first)
        measurements.audio_seconds.append(samples / tts.sample_rate)
        measurements.real_time_factor.append(elapsed * tts.sample_rate / samples)
        measurements.outside_graphs.append(1.0 - inside / elapsed)


def summarize(
    tts: TTS, arguments: argparse.Namespace, measurements: Measurements, load_seconds: float
) -> dict[str, Any]:
    """All figures, as they are written to JSON."""
    stages = measurements.stages
    return {
        "engine": tts.describe(),
        "engine_dir": str(Path(arguments.engine)),
        "threads": arguments.threads,
        "text": arguments.text,
        "runs": arguments.runs,
        "audio_seconds": sum(measurements.audio_seconds) / arguments.runs,
        "load_seconds": load_seconds,
        "time_to_first_audio_ms": percentiles(measurements.first_audio, 1e3),
        "real_time_factor": percentiles(measurements.real_time_factor),
        "share_outside_graphs": share_outside(measurements),
        "stages_ms": {name: percentiles(stages[name], 1e3) for name in STAGES if stages[name]},
        "peak_memory_mb": peak_memory_mb(),
    }


def share_outside(measurements: Measurements) -> float | None:
    """Of the time; None where graphs run beside each other, so that their times do not add up."""
    if "device_step" in measurements.stages:
        return None
    return sum(measurements.outside_graphs) / len(measurements.outside_graphs)


def percentiles(values: list[float], scale: float = 1.0) -> dict[str, float]:
    """count, mean and p50, p95, p99 of `values` times `scale`."""
    import numpy as np

    scaled = np.array(values) * scale
    found = np.percentile(scaled, PERCENTILES)
    named = {f"p{level}": float(value) for level, value in zip(PERCENTILES, found, strict=True)}
    return {"count": len(values), "mean": float(scaled.mean()), **named}


def format_report(report: Mapping[str, Any]) -> str:
    """The figures as a table for people."""
    memory, outside = report["peak_memory_mb"], report["share_outside_graphs"]
    lines = [
        report["engine"],
        f"{report['runs']} runs of {report['audio_seconds']:.2f} s of audio; "
        f"loaded in {report['load_seconds']:.2f} s; "
        f"peak memory {'unknown' if memory is None else f'{memory:.0f} MiB'}"
        + ("" if outside is None else f"; {100 * outside:.1f} % of the time outside graphs"),
        "",
        f"{'':22}{'p50':>9}{'p95':>9}{'p99':>9}{'mean':>9}{'count':>7}",
        _row("first audio, ms", report["time_to_first_audio_ms"]),
        _row("real-time factor", report["real_time_factor"]),
    ]
    for name, figures in report["stages_ms"].items():
        lines.append(f"{_row(name + ', ms', figures)}  {_STAGE_MEANINGS[name]}")
    return "\n".join(lines)


def _row(name: str, figures: Mapping[str, float]) -> str:
    columns = "".join(f"{figures[key]:>9.3f}" for key in ("p50", "p95", "p99", "mean"))
    return f"{name:22}{columns}{figures['count']:>7.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(profile, argv)


if __name__ == "__main__":
    sys.exit(main())
