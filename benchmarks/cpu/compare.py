"""The native engine beside ONNX Runtime, PyTorch, Optimum, OpenVINO, onnxruntime-genai and
llama.cpp, and beside the limits of the machine: tables in docs/performance.md and docs/peers.md.

In: the folders that `make cpu-engines cpu-peers` fills, and the environments of the peers. Out:
tables, and a file with all figures. All engines of a part are loaded once and measured in turn, in
both orders; a figure is a median. The limits are measured in the same run, and how fast memory is
read in every round: machines that share it with others change that from one second to the next.
Parts can be measured one by one: a file that is there keeps its other parts.
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
from typing import Any

from benchmarks.cpu.contestants import Request, TakesTurns, measure_in_turn, started
from benchmarks.cpu.limits import measure_limits, reading_alone
from benchmarks.cpu.peers import PEERS, codec_commands, read_pythons, step_commands
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
PRECISIONS, HEADS = ("int8", "int4", "fp32"), (3, 6, 12)
PARTS = (
    *(f"steps-{precision}" for precision in PRECISIONS),
    "codec",
    *(f"speech-{heads}" for heads in HEADS),
    "demo",
)
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
        """The peers that were named, on the same shapes."""
        return step_commands(self.published / "12", self.peers, precision, self.threads)

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
    peers = codec_commands(folder, bench.peers, bench.threads)
    with started(commands | peers) as contestants:
        whole = {"measure": "codec", "seconds": 2.0, "chunk": 0, "count": 2}
        bench.note("codec, whole, ms", contestants, whole)
        chunks = {"measure": "codec", "seconds": 2.0, "chunk": 20, "count": 2}
        ours = contestants[: len(commands)]
        bench.note("codec, chunks of 20 frames, ms", ours, chunks)


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


def measure_published(bench: Bench, heads: int) -> None:
    """Speech of the published size in int4."""
    measure_speech(bench, bench.ours(heads, "int4"), f"int4, {heads} heads")


def measure_demo(bench: Bench) -> None:
    """Speech of the demo voice."""
    commands = {
        NATIVE: bench.bundle(bench.demo / "native", threads=1),
        ONNXRUNTIME: bench.bundle(bench.demo / "onnxruntime", threads=1),
    }
    measure_speech(bench, commands, "demo voice, one thread")


def run(arguments: argparse.Namespace) -> None:
    """Measure the parts, and print the tables. The file has all figures so far at any time."""
    report = read_report(arguments.output, arguments.threads)
    if not arguments.table:
        measure(arguments, report)
    print(format_report(report["limits"], report["figures"]), end="")


def measure(arguments: argparse.Namespace, report: dict[str, Any]) -> None:
    """Measure the parts that were asked for, and put them into the report and its file."""
    bench = Bench(
        arguments.published,
        arguments.demo,
        read_pythons(arguments.peer),
        arguments.threads,
        arguments.rounds,
        report["figures"],
    )
    with progress("limits of the machine", to_stderr=True):
        report["limits"].update(measure_limits(bench.threads))
    stages = _stages(bench)
    for part in arguments.part or PARTS:
        with progress(part, to_stderr=True):
            stages[part]()
        write_atomically(arguments.output, (json.dumps(report, indent=2) + "\n").encode())


def read_report(path: Path, threads: int) -> dict[str, Any]:
    """The figures so far, or none. Raises `UserError` if they are of other threads."""
    if not path.exists():
        return {"limits": {}, "threads": threads, "figures": {}}
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if report["threads"] != threads:
        raise UserError(
            f"{path}: was measured with {report['threads']} threads; give another --output"
        )
    return report


def _stages(bench: Bench) -> dict[str, Callable[[], None]]:
    """What measures each of the parts."""
    stages: dict[str, Callable[[], None]] = {
        f"steps-{precision}": partial(measure_steps, bench, precision) for precision in PRECISIONS
    }
    stages["codec"] = partial(measure_codec, bench)
    for heads in HEADS:
        stages[f"speech-{heads}"] = partial(measure_published, bench, heads)
    stages["demo"] = partial(measure_demo, bench)
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
    add("--part", action="append", choices=PARTS, help="measure only this; can be repeated")
    add("--table", action="store_true", help="print the tables of --output, and measure nothing")
    add_count(parser, "--rounds", "rounds through all engines", default=5)
    return parser


_PEER_HELP = f"one of {', '.join(PEERS)}, and the Python of its environment; can be repeated"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
