"""The native engine beside ONNX Runtime, PyTorch, OpenVINO and llama.cpp, and beside the limits of
the machine: the tables in docs/performance.md.

In: the folders that `make cpu-engines` fills, and the environments of the peers. Out: tables, and a
file with all figures. All engines are loaded once and measured in turn, in both orders; a figure is
a median. The limits are measured in the same run, and how fast memory is read in every round:
machines that share it with others change that from one second to the next.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.cpu.contestants import Request, TakesTurns, measure_in_turn, started
from benchmarks.cpu.limits import measure_limits, reading_alone
from benchmarks.thread_settings import busy
from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, whole_from
from commands.progress import progress
from commands.run import run_command
from commands.tables import markdown_table
from formats.files.atomic import write_atomically
from runtime.speaking_options import MEASURED_TEXT

NATIVE, ONNXRUNTIME = "native", "ONNX Runtime"
CODEC_MACS = 12.27e9  # of the published codec's decoder, a second of audio
SPOKEN_STEPS = 40  # of the sentence that is spoken with random weights, which never stop


@dataclass
class Bench:
    """Where engines and peers are, and the figures so far.

    published: folders of 3, 6 and 12 heads in it. demo: bundles of the demo voice. peers: name ->
    its Python. figures: title of a row -> engine -> median, in the row's unit.
    """

    published: Path
    demo: Path
    peers: Mapping[str, str]
    threads: int
    rounds: int
    figures: dict[str, dict[str, float]] = field(default_factory=dict)

    def bundle(self, folder: Path, threads: int | None = None) -> list[str]:
        """The command that measures a bundle."""
        if not folder.is_dir():
            raise UserError(f"{folder}: is not there; make it: make cpu-engines")
        worker = [sys.executable, "-m", "benchmarks.cpu.bundle_worker"]
        return [*worker, str(folder), str(threads or self.threads)]

    def ours(self, heads: int, precision: str) -> dict[str, list[str]]:
        """Both of our engines at the published size."""
        folder = self.published / str(heads)
        return {
            NATIVE: self.bundle(folder / f"native-{precision}"),
            ONNXRUNTIME: self.bundle(folder / f"onnxruntime-{precision}"),
        }

    def theirs(self, precision: str) -> dict[str, list[str]]:
        """The peers that have been made, on the same shapes."""
        folder, threads = self.published / "12", str(self.threads)
        commands = {}
        if precision == "fp32":
            torch = [sys.executable, "-m", "benchmarks.cpu.torch_worker"]
            commands["PyTorch"] = [*torch, str(folder / "model"), threads]
        if python := self.peers.get("openvino"):
            graph = str(folder / f"onnxruntime-{precision}" / "backbone.onnx")
            worker = [python, "-m", "benchmarks.cpu.openvino_worker"]
            numbers = ["f32"] if precision == "fp32" else []
            commands["OpenVINO"] = [*worker, graph, threads, *numbers]
        if (python := self.peers.get("llama")) and precision != "fp32":
            model = str(folder / f"{ {'int8': 'q8_0', 'int4': 'q4_0'}[precision] }.gguf")
            worker = [python, "-m", "benchmarks.cpu.llama_worker"]
            commands["llama.cpp"] = [*worker, model, threads]
        return commands

    def note(self, title: str, contestants: Sequence[TakesTurns], request: Request) -> None:
        """Measure one row of milliseconds."""
        found = measure_in_turn(contestants, request, self.rounds)
        self.figures[title] = {
            name: 1e3 * statistics.median(values) for name, values in found.items()
        }


def measure_steps(bench: Bench, precision: str) -> None:
    """Steps, prompts, contexts and rows of the published size in one precision."""
    commands = bench.ours(12, precision) | bench.theirs(precision)
    with started(commands) as contestants:
        step = {"measure": "step", "context": 256, "count": 12}
        [read_bytes] = contestants[0].ask({"measure": "weight_bytes"})
        with reading_alone(bench.threads, read_bytes) as limit:
            bench.note(f"step {precision}, ms", [*contestants, limit], step)
        prompt = {"measure": "prefill", "positions": 32, "count": 4}
        bench.note(f"prefill of 32 positions {precision}, ms", contestants, prompt)
        ours = contestants[:2]
        long = {"measure": "step", "context": 2048, "count": 6}
        bench.note(f"step {precision} after 2,048 positions, ms", ours, long)
        many = {"measure": "step", "context": 64, "count": 6, "rows": 16}
        bench.note(f"step {precision} of 16 rows, ms", ours, many)
        with busy(1):
            bench.note(f"step {precision} beside a busy process, ms", ours, step)


def measure_codec(bench: Bench) -> None:
    """A second of audio of the published codec."""
    folder = bench.published / "12"
    commands = {
        f"{NATIVE} {precision}": bench.bundle(folder / f"native-{name}")
        for precision, name in (("fp32", "fp32"), ("bf16", "int4"), ("int8", "int8"))
    }
    commands[f"{ONNXRUNTIME} fp32"] = bench.bundle(folder / "onnxruntime-fp32")
    with started(commands) as contestants:
        whole = {"measure": "codec", "seconds": 2.0, "chunk": 0, "count": 2}
        bench.note("codec, whole, ms", contestants, whole)
        chunks = {"measure": "codec", "seconds": 2.0, "chunk": 20, "count": 2}
        bench.note("codec, chunks of 20 frames, ms", contestants, chunks)


def measure_speech(bench: Bench, commands: Mapping[str, Sequence[str]], title: str) -> None:
    """Real-time factor and first audio of a sentence, load time and peak memory."""
    request = {"measure": "speak", "text": MEASURED_TEXT, "max_steps": SPOKEN_STEPS, "count": 2}
    with started(commands) as contestants:
        found = measure_in_turn(contestants, request, bench.rounds)
        for name, values in found.items():
            for figure, unit, numbers in (
                ("real-time factor", 1.0, values[0::2]),
                ("first audio, ms", 1e3, values[1::2]),
            ):
                row = bench.figures.setdefault(f"{title}: {figure}", {})
                row[name] = unit * statistics.median(numbers)
        for contestant in contestants:
            load = bench.figures.setdefault(f"{title}: load, ms", {})
            load[contestant.name] = 1e3 * contestant.load_seconds
            memory = bench.figures.setdefault(f"{title}: peak memory, MiB", {})
            memory[contestant.name] = contestant.ask({"measure": "memory"})[0]


def run(arguments: argparse.Namespace) -> None:
    """Measure everything, and print the tables. The file has all figures so far at any time."""
    bench = Bench(
        arguments.published,
        arguments.demo,
        dict(peer.split("=", 1) for peer in arguments.peer),
        arguments.threads,
        arguments.rounds,
    )
    with progress("limits of the machine", to_stderr=True):
        limits = measure_limits(bench.threads)
    report = {"limits": limits, "threads": bench.threads, "figures": bench.figures}
    for title, measure in _stages(bench).items():
        with progress(title, to_stderr=True):
            measure()
        write_atomically(arguments.output, (json.dumps(report, indent=2) + "\n").encode())
    print(format_report(limits, bench.figures), end="")


def _stages(bench: Bench) -> dict[str, Callable[[], None]]:
    """All measurements, by what progress says of them."""
    stages: dict[str, Callable[[], None]] = {
        f"steps {precision}": partial(measure_steps, bench, precision)
        for precision in ("int8", "int4", "fp32")
    }
    stages["codec"] = partial(measure_codec, bench)
    for heads in (3, 6, 12):
        title = f"int4, {heads} heads"
        stages[title] = partial(measure_speech, bench, bench.ours(heads, "int4"), title)
    demo = {
        NATIVE: bench.bundle(bench.demo / "native", threads=1),
        ONNXRUNTIME: bench.bundle(bench.demo / "onnxruntime", threads=1),
    }
    stages["demo voice"] = partial(measure_speech, bench, demo, "demo voice, one thread")
    return stages


def format_report(limits: Mapping[str, float], figures: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown tables: limits, then figures of the same kind of engines together."""
    lines = [f"{name}: {value}\n" for name, value in limits.items()]
    codecs = {title: row for title, row in figures.items() if title.startswith("codec")}
    others = {title: row for title, row in figures.items() if title not in codecs}
    return "".join([*lines, *(f"\n{_table(part)}" for part in (others, codecs) if part)])


def _table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each figure, a column for each engine, with its share of the first one's."""
    engines = list(dict.fromkeys(name for row in figures.values() for name in row))
    return markdown_table(
        ["", *engines],
        [[title, *(_cell(row, name) for name in engines)] for title, row in figures.items()],
    )


def _cell(row: Mapping[str, float], engine: str) -> str:
    if engine not in row:
        return "–"
    value, own = row[engine], next(iter(row.values()))
    return (
        f"{value:.0f} ({value / own:.2f})" if value >= 100 else f"{value:.3g} ({value / own:.2f})"
    )


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.cpu.compare",
        "Compare the engines for CPUs with each other and with what the machine can do.",
    )
    add = parser.add_argument
    add("--published", type=Path, default=Path("runs/cpu"), help="folder of make cpu-engines")
    add("--demo", type=Path, default=Path("runs/cpu/demo"), help="bundles of the demo voice")
    add("--peer", action="append", default=[], metavar="NAME=PYTHON", help=_PEER_HELP)
    add("--threads", type=whole_from(1), default=2, metavar="N", help="threads of every engine")
    add("--output", type=Path, default=Path("cpu.json"), help="file of all figures")
    add_count(parser, "--rounds", "rounds through all engines", default=5)
    return parser


_PEER_HELP = "openvino or llama, and the Python of its environment; can be given twice"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
