"""The report of a profile: its schema, and its JSON.

In: what `runtime.profiling.measuring` has measured, or a file. Out: a typed `Report`, the same
either way. It measures nothing and draws nothing: the table for a terminal, the page and the trace
are made from it. Times are in seconds, sizes in bytes, rates a second, unless a name says else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from commands.errors import UserError
from formats.files.atomic import write_atomically

SCHEMA_VERSION = 1
MAX_REPORT_BYTES = 64 * 1024 * 1024


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable; unknown fields are refused."""


class Summary(_Record, frozen=True, kw_only=True):
    """Many values of one figure. low, high: of a 95 % bootstrap interval of the median."""

    count: int
    mean: float
    least: float
    p50: float
    p95: float
    p99: float
    low: float
    high: float


class Machine(_Record, frozen=True, kw_only=True):
    """Where it was measured. None: the system does not say."""

    system: str  # "Linux-6.1-x86_64"
    processor: str  # "AMD EPYC 9654"
    architecture: str  # "x86_64"
    processors: int  # logical ones that this process may use
    memory_bytes: int | None
    features: tuple[str, ...]  # such as "avx512_vnni", of those that engines use
    gpu: str | None = None
    python: str
    packages: dict[str, str]  # name -> version


class Limits(_Record, frozen=True, kw_only=True):
    """What the machine can do at most, with as many threads as the engine. None: not measured.

    measured_by: "native engine", "numpy" (which does not know bf16 and int8 products), or "GPU
    copies" (bytes that are read and written, so that reading alone can be somewhat faster).
    """

    threads: int
    read_bytes_per_second: float | None = None
    fp32_macs_per_second: float | None = None
    bf16_macs_per_second: float | None = None
    int8_macs_per_second: float | None = None
    cache_bytes: int | None = None  # of the largest cache: what fits is not read from memory
    measured_by: str


class Noise(_Record, frozen=True, kw_only=True):
    """What else happened while it was measured.

    others_share: of the processors' time, what other programs took (0.5 of two: one of them). of a
    virtual machine, stolen_share is what the host gave to others. slowest_clock: the least speed of
    a fixed loop as a share of its best one. Each warning is a whole sentence for people.
    """

    others_share: float | None
    stolen_share: float | None
    slowest_clock: float
    throttled: int | None  # events that the processor counted
    busiest_others: tuple[str, ...] = ()  # "python (pid 123): 98 % of a processor"
    warnings: tuple[str, ...] = ()


class Span(_Record, frozen=True, kw_only=True):
    """Something that took time in one utterance. start: since the text was given.

    track: "text", "language model" or "codec". name: a stage of runtime.engines.observing, or
    "text" (reading it, and the voice).
    """

    track: str
    name: str
    start: float
    seconds: float
    thread: int


class PlayedChunk(_Record, frozen=True, kw_only=True):
    """A chunk of audio, handed out at `ready`, that a player has to begin at `due`.

    The player begins with the first chunk when it is handed out, and pauses when it runs dry. late:
    by how much `ready` is later than `due`.
    """

    ready: float
    due: float
    late: float
    audio_seconds: float
    frames: int
    sentence: int


class Timeline(_Record, frozen=True, kw_only=True):
    """One utterance: the run whose time to first audio is the median. seconds: of the whole."""

    seconds: float
    audio_seconds: float
    first_audio: float
    spans: tuple[Span, ...]
    chunks: tuple[PlayedChunk, ...]


class Playback(_Record, frozen=True, kw_only=True):
    """What listeners notice. gaps: seconds from each chunk to the next, of all runs. underruns: how
    often a player that starts at the first chunk runs dry, in all runs; longest_wait: of those.
    spare: how early the tightest chunk of a run was, negative if it was late."""

    runs: int
    gaps: Summary | None  # None: one chunk only
    underruns: int
    longest_wait: float
    spare: Summary | None


class Stage(_Record, frozen=True, kw_only=True):
    """A stage of runtime.engines.observing. share: of the time of a whole run. per_run: how many
    calls. limit: the least seconds that the machine's limits allow, limited_by "memory" or
    "products"; None where bytes and products are not known."""

    name: str
    meaning: str
    seconds: Summary
    share: float
    calls_per_run: float
    read_bytes: float | None = None
    macs: float | None = None
    number_format: str | None = None  # of the products: "fp32", "bf16", "int8"
    limit: float | None = None
    limited_by: str | None = None


class Point(_Record, frozen=True, kw_only=True):
    """A step measured at a context, or with a number of rows. seconds: of one step of all rows."""

    context: int
    rows: int
    seconds: Summary


class Layer(_Record, frozen=True, kw_only=True):
    """Seconds of one part of the model in one call of a stage: layer "3", part "attention".

    layer: "0", "1", … of the backbone, "head 2", "stage 1" of the codec, or a name. part: "qkv",
    "attention", "output", "mlp", "norm", "convolution", … or the operator.
    """

    stage: str
    layer: str
    part: str
    seconds: float
    calls: float  # of operators or kernels, in one call of the stage


class Subject(_Record, frozen=True, kw_only=True):
    """One bundle, as it was run. label: what tells it from the others of this report."""

    label: str
    engine: str  # TTS.describe()
    folder: str
    bundle_sha256: str  # of manifest.json, which has the hashes of all other files
    kind: str  # of the engine: native, onnxruntime, tensorrt, tensorrt-rtx
    run_with: str
    precision: str
    codec_precision: str
    heads: int
    frames_per_step: float
    frames_per_second: float
    threads: int
    look_ahead: int | None = None  # later frames that the first chunk waited for; None: all
    runs: int
    load_seconds: float
    resident_bytes: float | None  # after the runs
    peak_bytes: float | None  # of the process: with several subjects, of all so far
    step_bytes: float | None  # that one step reads of the weights
    first_audio: Summary
    first_audio_parts: dict[str, float]  # medians, as shares of the median run: they add up to it
    real_time_factor: Summary
    audio_seconds: float  # of a run, mean
    outside_stages: float | None  # share of a run's time; None where stages run at the same time
    stages: tuple[Stage, ...]
    playback: Playback
    timeline: Timeline
    contexts: tuple[Point, ...] = ()
    rows: tuple[Point, ...] = ()
    layers: tuple[Layer, ...] = ()


class Comparison(_Record, frozen=True, kw_only=True):
    """One figure of two subjects, measured in turn. ratio: median of the pairs' baseline / other,
    with a 95 % bootstrap interval: above 1, the other one is faster."""

    figure: str  # "step", "first audio", "real-time factor", …
    baseline: str  # label
    other: str
    ratio: float
    low: float
    high: float
    sentence: str


class Report(_Record, frozen=True, kw_only=True):
    """Everything."""

    schema_version: Annotated[int, msgspec.Meta(ge=1)] = SCHEMA_VERSION
    created: str  # ISO 8601, UTC
    command: str
    text: str
    machine: Machine
    limits: tuple[Limits, ...]  # one for each number of threads
    noise: Noise
    subjects: tuple[Subject, ...]
    comparisons: tuple[Comparison, ...] = ()


def write_report(path: str | Path, report: Report) -> None:
    """Write the JSON; the file appears whole or not at all."""
    content = msgspec.json.format(msgspec.json.encode(report), indent=2)
    write_atomically(path, content + b"\n")


def read_report(path: str | Path) -> Report:
    """Read what `write_report` wrote.

    Raises:
        UserError: no such file, another kind of file, or another version of the schema.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_REPORT_BYTES:
            raise UserError(f"{path}: larger than {MAX_REPORT_BYTES} bytes: not a report")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    _check_version(path, content)
    try:
        return msgspec.json.decode(content, type=Report)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UserError(f"{path}: not a report of runtime.profile ({error})") from None


def _check_version(path: Path, content: bytes) -> None:
    class Versioned(msgspec.Struct):
        schema_version: int = 0

    try:
        version = msgspec.json.decode(content, type=Versioned).schema_version
    except (msgspec.DecodeError, RecursionError):
        version = 0
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: is no report of version {SCHEMA_VERSION} (it says {version}); measure again "
            "with python -m runtime.profile --json"
        )
