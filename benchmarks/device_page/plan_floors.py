"""The table of docs/gpu.md: GPUs with the software that they have, and the least time of a step.

In: the published bandwidths, the TensorRT of each JetPack, and what the runtime knows of both:
dialects and precisions. Out: Markdown. Nothing of it was measured.

A step of plans reads the weights once and moves the KV caches, whose capacity is fixed. The basic
dialect's graph reads each cache, writes it anew, reads that for attention, and has its keys once
more in float32. The portable one's caches stay in place; half of them is what `runtime.gpu_report`
counts, because on the way through an utterance they are half full.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.device_page.bandwidths import DEVICES
from benchmarks.device_page.floors import HALF, INT4_BLOCK, step_bytes
from benchmarks.device_page.page import COMPUTED, two_digits
from benchmarks.published_size import published_config
from commands.tables import markdown_table
from export.native.layout import Format
from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.precisions import TENSORRT_BLOCKS
from runtime.bundle.names import TENSORRT, TENSORRT_RTX
from runtime.engines.tensorrt.gpu_targets import TARGETS
from runtime.engines.tensorrt.parsers import usual_dialect
from runtime.engines.tensorrt.plan_check import TITLES
from runtime.gpu_report import CACHE_MOVES

HEADS, POSITIONS = 12, 2048
COLUMNS: tuple[tuple[str, Format], ...] = (
    ("fp16, bf16", "fp16"),
    ("int8, fp8", "int8"),
    ("int4", "int4"),
)


@dataclass(frozen=True)
class System:
    """A device with its software. device: of `DEVICES`. version: of the TensorRT that it has."""

    device: str
    sm: int
    software: str
    version: str
    kind: str = TENSORRT

    @property
    def dialect(self) -> str:
        return usual_dialect(self.kind, self.version)


JETPACK_6, JETPACK_7_1, JETPACK_7_2 = "10.3.0", "10.13.3", "10.16.2"  # versions of TensorRT
RTX_SOFTWARE, RTX = "driver for CUDA 13", "1.7.1"


def _orin(name: str, jetpack_6: str = "JetPack 6.1, 6.2") -> tuple[System, System]:
    """A module with both JetPacks that it runs."""
    device = f"Jetson {name}"
    return (
        System(device, 87, jetpack_6, JETPACK_6),
        System(device, 87, "JetPack 7.2", JETPACK_7_2),
    )


def _rtx(device: str, sm: int) -> System:
    return System(device, sm, RTX_SOFTWARE, RTX, TENSORRT_RTX)


SYSTEMS = (
    *_orin("Orin Nano 4 GB"),
    *_orin("Orin Nano 4 GB, MAXN SUPER", "JetPack 6.2"),
    *_orin("Orin Nano 8 GB"),
    *_orin("Orin Nano 8 GB, MAXN SUPER", "JetPack 6.2"),
    *_orin("Orin NX 16 GB"),
    *_orin("AGX Orin 32, 64 GB"),
    System("Jetson Thor (T5000)", 110, "JetPack 7.0, 7.1", JETPACK_7_1),
    System("Jetson Thor (T5000)", 110, "JetPack 7.2", JETPACK_7_2),
    _rtx("DGX Spark", 121),
    _rtx("RTX 4060 Laptop", 89),
    _rtx("RTX 4060", 89),
    _rtx("L4", 89),
    _rtx("RTX 4090", 89),
    _rtx("RTX 5090", 120),
    System("H200", 90, "driver for CUDA 12 or 13", "10.15.1"),
)


def cache_bytes(config: LanguageModelConfig, positions: int) -> int:
    """Keys and values of one sequence, in 16 bits."""
    keys = config.num_key_value_heads * positions * config.head_dim
    return 2 * config.num_hidden_layers * keys * HALF


def moved_bytes(config: LanguageModelConfig, dialect: str, positions: int) -> int:
    """What a step of one sequence moves of its caches, as its graph is written."""
    return int(cache_bytes(config, positions) * CACHE_MOVES[dialect])


def plan_step_bytes(system: System, form: Format) -> int:
    """Weights and caches that a step of the published size moves."""
    config = published_config(HEADS)
    block = TENSORRT_BLOCKS[0] if system.kind == TENSORRT else INT4_BLOCK
    return step_bytes(config, form, block) + moved_bytes(config, system.dialect, POSITIONS)


def plan_floor_table() -> str:
    """Device, software, TensorRT, dialect, precisions, and the least time of a step."""
    titles = ["device", "GB/s", "software", "TensorRT", "dialect", "precisions"]
    rows = [_row(system) for system in SYSTEMS]
    return (
        f"{COMPUTED}: least time of a step, ms; published size, {HEADS} heads, "
        f"{POSITIONS:,} positions.\n\n"
        f"{markdown_table([*titles, *(title for title, _ in COLUMNS)], rows)}"
    )


def _row(system: System) -> list[str]:
    bandwidth = {device.name: device.published for device in DEVICES}[system.device]
    title = "" if system.kind == TENSORRT else f"{TITLES[system.kind]} "
    numbers = ".".join(system.version.split(".")[:2])
    precisions = " ".join(sorted(TARGETS[system.sm].reduced, key=_order))
    floors = [two_digits(plan_step_bytes(system, form) / bandwidth / 1e6) for _, form in COLUMNS]
    first = [system.device, f"{bandwidth:,.6g}", system.software, f"{title}{numbers}"]
    return [*first, system.dialect, precisions, *floors]


def _order(precision: str) -> int:
    return ("fp16", "bf16", "int8", "fp8", "int4").index(precision)
