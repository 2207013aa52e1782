"""The manifest: a bundle's description of itself, and its JSON.

In: `manifest.json`. Out: a typed `Manifest`. It opens no other file of the bundle, and knows
nothing about ONNX, engines or audio.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from commands.errors import UserError
from formats.precisions import Precision
from formats.streams import MAX_STREAMS
from runtime.bundle.names import (
    MANIFEST_FILE,
    MAX_CALL_FRAMES,
    MAX_MANIFEST_BYTES,
    MAX_POSITIONS,
    MAX_ROWS,
    MTP_HEAD,
    NTP_HEAD,
    PLAN_SUFFIX,
    SCHEMA_VERSION,
)

DType = Literal["float32", "float16", "bfloat16", "int64", "int32", "bool"]
HeadKind = Literal["linear", "mlp", "transformer", "lm_head"]  # the last one for NTP
Dimension = int | str
Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable; unknown fields are refused."""


class TensorSpec(_Record, frozen=True):
    """One input or output of a graph."""

    name: str
    dtype: DType
    shape: tuple[Dimension, ...]


class StateSpec(_Record, frozen=True):
    """A tensor that one call leaves and the next one takes; it starts as zeros."""

    input: str
    output: str
    in_place: bool  # the output may (and should) be bound to the input's memory


class Range(_Record, frozen=True):
    """The sizes that a named dimension may have: least, most usual and greatest."""

    min: Size
    opt: Size
    max: Size


class GraphSpec(_Record, frozen=True):
    """One graph's file, ONNX or a plan, and what goes in and out of it.

    profiles: ranges of the graph's named dimensions, a set for each way of calling it. Engines
    that are built for shapes make one optimization profile of each, in this order.
    """

    file: str
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[StateSpec, ...] = ()
    weights: str | None = None  # external data file beside the graph
    profiles: dict[str, dict[str, Range]] = msgspec.field(default_factory=dict)


class FileRecord(_Record, frozen=True):
    size_bytes: Count
    sha256: str


class PlansSpec(_Record, frozen=True):
    """What the plans of a bundle were built for: they run nowhere else.

    `runtime.engines.tensorrt.plan_check` compares it with the machine before a plan is
    deserialised.
    """

    version: str  # of the TensorRT library, exactly
    compute_capabilities: tuple[str, ...]  # "8.9"
    platform: str | None  # "linux-aarch64"; None: any that the library runs on
    precision: str
    source_sha256: str  # of manifest.json of the bundle of graphs
    source_options: str = ""  # what export.build was given to find the checkpoint or bundle
    timing_cache: str | None = None  # file; makes the next build on the same GPU faster


class EngineSpec(_Record, frozen=True):
    """What can run the graphs."""

    kind: str  # ONNXRUNTIME, NATIVE, TENSORRT or TENSORRT_RTX
    dialect: str  # ORT: fused com.microsoft operators; PORTABLE, BASIC: standard ONNX; or NATIVE
    rows: Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)] = 1  # that one call takes at most
    plans: PlansSpec | None = None  # for TENSORRT and TENSORRT_RTX


class LanguageModelSpec(_Record, frozen=True):
    kind: Literal["mtp", "ntp"]
    heads: Size  # codes a step
    head_kind: HeadKind
    hidden_size: Size
    layers: Size
    kv_heads: Size
    head_dim: Size
    max_positions: Annotated[int, msgspec.Meta(ge=1, le=MAX_POSITIONS)]
    speaker_aware: bool


class PromptSpec(_Record, frozen=True):
    """How text becomes the token ids in front of the first speech step."""

    template: str  # holds {text}; ends in <sosp>
    bos_id: TokenId
    placeholder_id: TokenId | None = None  # its embedding is replaced by the speaker's
    text_frontend: dict[str, str] = msgspec.field(default_factory=lambda: {"kind": "none"})


class ChatSpec(_Record, frozen=True):
    """How a question becomes a prompt, and where the written answer is in what follows.

    The model continues the prompt with `before_answer`, the answer and `after_answer`, then with
    the token `speech_start_id` and speech; or it ends the text with `text_end_id`.
    """

    template: str  # holds {question}
    before_answer: str
    after_answer: str
    speech_start_id: TokenId
    text_end_id: TokenId
    max_tokens: Size = 256  # models can fail to stop


class SamplingDefaults(_Record, frozen=True):
    do_sample: bool = True
    temperature: Annotated[float, msgspec.Meta(ge=0.01, le=100.0)] = 1.0
    top_k: Size = 50
    top_p: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.8
    repetition_penalty: Annotated[float, msgspec.Meta(ge=1.0, le=100.0)] = 1.0


class LengthBound(_Record, frozen=True):
    """Decoding ends after `extra_frames + frames_per_token * text tokens`.

    Models can fail to stop.
    """

    frames_per_token: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 100.0
    extra_frames: Annotated[int, msgspec.Meta(ge=0, le=MAX_POSITIONS)] = 160


class CodecSpec(_Record, frozen=True):
    """The codec. A frame is one code of each stream; codes of stream i lie below `streams[i]`."""

    streams: Annotated[tuple[Size, ...], msgspec.Meta(min_length=1, max_length=MAX_STREAMS)]
    sample_rate_hz: Annotated[int, msgspec.Meta(ge=1_000, le=768_000)]
    hop_samples: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    speaker_channels: Size
    # How late the decoder's audio is: the audio of a frame depends on this many later frames.
    delay_frames: Annotated[int, msgspec.Meta(ge=0, le=MAX_CALL_FRAMES)]

    @property
    def frames_per_second(self) -> float:
        return self.sample_rate_hz / self.hop_samples


class Check(_Record, frozen=True):
    """One figure of the export's checks, kept for people to read."""

    name: str
    measured: float
    limit: float


class Manifest(_Record, frozen=True):
    schema_version: int
    engine: EngineSpec
    language_model: LanguageModelSpec
    prompt: PromptSpec
    sampling: SamplingDefaults
    length: LengthBound
    codec: CodecSpec
    graphs: dict[str, GraphSpec]
    tokenizer: str
    embeddings: str  # .npy, float32 or float16 [vocabulary, hidden_size]
    voices: dict[str, str]  # name -> file
    default_voice: str | None
    files: dict[str, FileRecord]
    built_with: dict[str, str]
    checks: tuple[Check, ...] = ()
    chat: ChatSpec | None = None  # only with the text head

    @property
    def head(self) -> str:
        """The graph that turns hidden states into codes."""
        return MTP_HEAD if self.language_model.kind == "mtp" else NTP_HEAD

    @property
    def frames_per_step(self) -> float:
        """Of K streams: 1, 2, 4 … for K, 2 K, 4 K … heads; 1 / K for a next-token model."""
        return self.language_model.heads / len(self.codec.streams)

    def referenced_files(self) -> list[str]:
        """Every file that loading will open."""
        graphs = self.graphs.values()
        weights = [graph.weights for graph in graphs if graph.weights]
        own = [self.tokenizer, self.embeddings, *self.voices.values()]
        return [*(graph.file for graph in graphs), *weights, *own]


def numpy_type(dtype: DType) -> str:
    """NumPy's name of the type. It has no bfloat16: those tensors are uint16 of the same bits."""
    return "uint16" if dtype == "bfloat16" else dtype


def read_manifest(folder: Path) -> Manifest:
    """Parse and validate `folder/manifest.json` without looking at any other file."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        bare = folder.suffix == PLAN_SUFFIX or any(folder.glob(f"*{PLAN_SUFFIX}"))
        what = "a plan is not loaded without its bundle's" if bare else "not a bundle: it has no"
        raise UserError(
            f"{folder}: {what} {MANIFEST_FILE}; make a bundle: python -m export.build --output DIR"
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise UserError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes; export again")
    return parse_manifest(path.read_bytes(), where=str(path))


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Decode manifest JSON; `where` names the source in error messages."""
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise UserError(f"{where}: {_describe_version(version, content)}")
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not a valid manifest ({error}); export again") from None


def encode_manifest(manifest: Manifest) -> bytes:
    """JSON for people to read, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def _describe_version(version: int, content: bytes) -> str:
    """What to do with a bundle of another schema."""
    if version > SCHEMA_VERSION:
        return (
            f"schema {version} is newer than this runtime's {SCHEMA_VERSION}; install a newer "
            "version of slm-deploy"
        )
    facts = msgspec.json.decode(content, type=_OldFacts)
    options = facts.engine.plans.source_options if facts.engine.plans else ""
    target = "" if facts.engine.plans is None else f"--target {facts.engine.kind} "
    source = options or f"--heads {facts.language_model.heads}"
    return (
        f"schema {version} is older than this runtime's {SCHEMA_VERSION}; make the bundle again: "
        f"python -m export.build {target}{source} --output DIR"
        + ("" if options else " (another model than the demo voice: --model DIR --codec DIR)")
    )


class _Version(msgspec.Struct):
    schema_version: int


class _OldPlans(msgspec.Struct):
    source_options: str = ""


class _OldEngine(msgspec.Struct):
    kind: str = ""
    plans: _OldPlans | None = None


class _OldModel(msgspec.Struct):
    heads: int = 6


class _OldFacts(msgspec.Struct):
    """What a bundle of any schema may say about how it was made."""

    engine: _OldEngine = msgspec.field(default_factory=_OldEngine)
    language_model: _OldModel = msgspec.field(default_factory=_OldModel)
