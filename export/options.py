"""The options of an export, in groups. Each group can write itself as words of a command line.

In: choices of a command line or a caller. Out: `ExportOptions`, and words that give the same
options again. Standard library only, so that `--help` needs nothing else.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from formats.precisions import CacheFormat, Precision
from runtime.bundle.names import NATIVE, ORT, PORTABLE

DEMO_HEADS = 6  # the best understood of the demo voices: docs/voice.md
OPERATORS, PLUGIN = "operators", "plugin"
CODEC_ACTIVATIONS = (OPERATORS, PLUGIN)
DEFAULT_OUTPUT = "engine"
CPU_ROWS, PLAN_ROWS = 16, 4  # texts side by side, unless --rows says otherwise
COMPARISON_TAKES = """some seconds for a model of the demo's size, a minute or two at the \
published size, longer beside other work"""


@dataclass(frozen=True)
class Source:
    """Where a model, its codec and its voices are read from. Without `model`: the demo voice.

    heads: the number that the checkpoint must have; without `model`, which demo voice to take.
    """

    model: Path | None = None
    codec: Path | None = None
    voices: tuple[str, ...] = ()  # NAME=FILE
    heads: int | None = None

    def to_words(self) -> list[str]:
        return [
            *_option("--heads", self.heads),
            *_option("--model", self.model),
            *_option("--codec", self.codec),
            *(("--voice", *self.voices) if self.voices else ()),
        ]


@dataclass(frozen=True)
class Numbers:
    """Number formats and operators of an export's graphs.

    dialect: NATIVE for packed weights instead of graphs.
    calibration: a directory of `python -m calibration.run`, for a model in few bits.
    codec_calibration: one of `python -m calibration.codec`, for a codec in few bits.
    codec_precision: of a native bundle's decoder; graphs of it have their calibration's.
    cache: of a native bundle's keys and values; None for what goes with the precision.
    """

    precision: Precision = "fp32"
    dialect: str = ORT
    calibration: Path | None = None
    codec_calibration: Path | None = None
    codec_activation: str = OPERATORS
    codec_precision: Precision = "fp32"
    cache: CacheFormat | None = None

    def to_words(self) -> list[str]:
        """Words of a bundle of graphs or weights."""
        is_native = self.dialect == NATIVE
        kind = ["--target", NATIVE] if is_native else ["--dialect", self.dialect]
        codec = ["--codec-precision", self.codec_precision] if is_native else []
        cache = _option("--cache", self.cache) if is_native else []
        return [*self.formats_to_words(), *kind, *codec, *cache]

    def formats_to_words(self) -> list[str]:
        """All but what engine and operators are."""
        return ["--precision", self.precision, *self.files_to_words()]

    def files_to_words(self) -> list[str]:
        """All but precision and dialect."""
        activation = None if self.codec_activation == OPERATORS else self.codec_activation
        return [
            *_option("--calibration", self.calibration),
            *_option("--codec-calibration", self.codec_calibration),
            *_option("--codec-activation", activation),
        ]


@dataclass(frozen=True)
class Capacity:
    """How much speech a bundle has room for.

    max_positions: of prompt and speech together; None for as many as the model or a sentence needs.
    rows: the most texts that one call takes side by side; None for the usual number.
    """

    max_positions: int | None = None
    rows: int | None = None

    def to_words(self) -> list[str]:
        return [*_option("--max-positions", self.max_positions), *_option("--rows", self.rows)]


@dataclass(frozen=True)
class ReadyBundle:
    """A bundle of standard operators that exists. precision: the one it must have; None for any."""

    folder: Path
    precision: Precision | None = None

    def to_words(self) -> list[str]:
        return ["--bundle", str(self.folder), *_option("--precision", self.precision)]


@dataclass(frozen=True)
class PlanOptions:
    """Plans for GPUs instead of graphs.

    target: TENSORRT_RTX or TENSORRT. sm: GPUs by number, 89 for compute capability 8.9; empty for
    the usual ones. bundle: the graphs that plans are made from; None to export them first.
    dialect: of graphs that are exported first; None for what the TensorRT that is here reads best.
    """

    target: str
    sm: tuple[int, ...] = ()
    bundle: ReadyBundle | None = None
    dialect: str | None = None

    def to_words(self) -> list[str]:
        words = ["--target", self.target]
        words += ["--sm", *map(str, self.sm)] if self.sm else []
        words += _option("--dialect", self.dialect)
        return words + (self.bundle.to_words() if self.bundle else [])


@dataclass(frozen=True)
class ExportOptions:
    """One export. If `plans` has a bundle, only `plans` and `output` count.

    text_head: also export the head that writes answers. compare: with PyTorch; None to compare if
    it is installed. A native bundle is compared with ONNX Runtime instead, unless this is False.
    plans: None for a bundle of graphs, which ONNX Runtime runs, or of packed weights.
    """

    source: Source = field(default_factory=Source)
    numbers: Numbers = field(default_factory=Numbers)
    capacity: Capacity = field(default_factory=Capacity)
    text_head: bool = False
    output: Path = Path(DEFAULT_OUTPUT)
    compare: bool | None = None
    plans: PlanOptions | None = None

    def to_words(self) -> list[str]:
        """The command line of `python -m export.build` for these options."""
        output = ["--output", str(self.output)]
        if self.plans is not None and self.plans.bundle is not None:
            return [*self.plans.to_words(), *output]
        if self.plans is None:
            plans, numbers = [], self.numbers.to_words()
        else:
            plans, numbers = self.plans.to_words(), self.numbers.formats_to_words()
        compare = {None: [], True: ["--compare"], False: ["--no-compare"]}[self.compare]
        return [*self.model_to_words(), *numbers, *compare, *plans, *output]

    def model_to_words(self) -> list[str]:
        """The words that name the model, without numbers and output."""
        text_head = ["--text-head"] if self.text_head else []
        return [*self.source.to_words(), *text_head, *self.capacity.to_words()]

    @property
    def rows(self) -> int:
        """The most texts that one call takes side by side."""
        usual = CPU_ROWS if self.plans is None else PLAN_ROWS
        return usual if self.capacity.rows is None else self.capacity.rows

    def graphs(self, output: Path, dialect: str = PORTABLE) -> ExportOptions:
        """The export of the graphs that plans are made from, to `output`."""
        numbers = replace(self.numbers, dialect=dialect)
        capacity = replace(self.capacity, rows=self.rows)
        return replace(self, numbers=numbers, capacity=capacity, output=output, plans=None)

    def origin(self) -> str:
        """Options for a shell that name the same checkpoint or bundle again.

        A manifest keeps them in UTF-8, so bytes of a path that are not UTF-8 are escaped.
        """
        if self.plans is not None and self.plans.bundle is not None:
            words = ["--bundle", str(self.plans.bundle.folder)]
        else:
            words = [*self.numbers.files_to_words(), *self.model_to_words()]
        return os.fsencode(shlex.join(words)).decode("utf-8", "backslashreplace")


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [name, str(value)]
