"""The bundle: the directory that an export leaves and a runtime loads.

In: a folder with `manifest.json`, ONNX graphs, `tokenizer.json`, the embedding table and voices.
Out: a typed `Manifest` and paths whose sizes and hashes have been checked.

This file is the one contract between exporter and runtimes: the manifest's schema and the names
of all graphs, tensors and dimensions are written here and nowhere else; other languages read the
JSON. It knows nothing about ONNX, engines or audio.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from runtime.errors import UserError
from runtime.files import require_unicode_path

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
PLAN_SUFFIX = ".plan"  # a graph compiled by TensorRT

# Graphs (keys of Manifest.graphs).
BACKBONE = "backbone"  # embeddings + KV cache -> hidden states
MTP_HEAD = "mtp_head"  # hidden state + sampling -> N codes and the embedding that is fed back
NTP_HEAD = "ntp_head"  # the same for one token a step
TEXT_HEAD = "text_head"  # hidden state -> text token
SPEAKER_PROJECTION = "speaker_projection"  # speaker embedding -> embedding at the placeholder
CODEC_DECODER = "codec_decoder"  # frames + speaker embedding -> audio
CODEC_ENCODER = "codec_encoder"  # audio -> frames + speaker embedding

# Engines (EngineSpec.kind). The latter two run plans, which are built for certain GPUs.
ONNXRUNTIME = "onnxruntime"
TENSORRT = "tensorrt"  # built on the device that runs it
TENSORRT_RTX = "tensorrt-rtx"  # built anywhere, for the GPUs of the RTX family

# Dialects of graphs (EngineSpec.dialect).
ORT, PORTABLE = "ort", "portable"

# Dimensions that a run chooses. All others are fixed numbers in the manifest.
POSITIONS = "positions"  # positions in this call: the prompt's length, then 1
CAPACITY = "capacity"  # positions that the KV cache has room for
FRAMES = "frames"  # codec frames
SAMPLES = "samples"  # audio samples

# Backbone.                                     dtype    shape
INPUTS_EMBEDS = "inputs_embeds"  #              float32  [1, positions, hidden_size]
PAST_LENGTH = "past_length"  #                  int64    [1]  positions already in the cache
HIDDEN = "hidden"  #                            float32  [1, positions, hidden_size]
PAST_KEY, PRESENT_KEY = (
    "past_key_{layer}",
    "present_key_{layer}",
)  # [1, kv_heads, capacity, head_dim]
PAST_VALUE, PRESENT_VALUE = "past_value_{layer}", "present_value_{layer}"
# Caches are in the graph's own number format. Their capacity is named in the ort dialect and a
# number, the model's max_positions, in the portable one.

# Heads. N codes a step: 3, 6, 12 … for MTP, 1 for NTP. Greedy decoding is top_k = 1.
REPETITION_PENALTY = "repetition_penalty"  #    float32  [1]
TEMPERATURE = "temperature"  #                  float32  [1]
TOP_K = "top_k"  #                              int64    [1]  1 … codebook entries + 2
TOP_P = "top_p"  #                              float32  [1]
NOISE = "noise"  #                              float32  [N]  uniform in [0, 1), one per code
CODES = (
    "codes"  #                              int64    [N]  index within each head's own vocabulary
)
KEPT_CODES = "kept_codes"  #                    int64    [1]  leading codes that belong to speech
STOP = "stop"  #                                bool     [1]  a head drew <eosp>
NEXT_EMBEDDING = "next_embedding"  #            float32  [1, 1, hidden_size]
PAST_SEEN, PRESENT_SEEN = "past_seen", "present_seen"  # bool [N or 3, entries] drawn so far
PAST_SLOT, PRESENT_SLOT = "past_slot", "present_slot"  # int64 [1]  NTP: 0, 1, 2 for a, b, c
PAST_HEAD_KEY = "past_head_key_{layer}"  # transformer heads: [N, kv_heads, capacity, head_dim]
PRESENT_HEAD_KEY = "present_head_key_{layer}"
PAST_HEAD_VALUE = "past_head_value_{layer}"
PRESENT_HEAD_VALUE = "present_head_value_{layer}"
TOKEN = "token"  #                              int64    [1]  text head: a token of the vocabulary

# Speaker projection and codec.
SPEAKER = "speaker"  #                          float32  [1, speaker_channels]
SPEAKER_TOKEN = "speaker_token"  #              float32  [1, 1, hidden_size]
CODEC_FRAMES = "frames"  #                      int64    [1, frames, 3]  columns a, b, c
AUDIO = "audio"  #                              float32  [1, samples]

# Codec decoder: an utterance in chunks. Audio comes CodecSpec.delay_frames late, so that many
# frames of any codes follow the utterance's last one.
PAST_FRAMES = "past_frames"  #                  int64    [1]  of the utterance, in earlier calls
UTTERANCE_FRAMES = "utterance_frames"  #        int64    [1]  all of them, or UNKNOWN_FRAMES
MAX_CALL_FRAMES = 400  # 5 s; runtimes give the decoder more in several calls
UNKNOWN_FRAMES = 2**31 - 1  # the utterance's last frame is in no call so far, nor in this one
PAST_CONTEXT, PRESENT_CONTEXT = "past_context_{index}", "present_context_{index}"  # of one layer

# Ways in which a graph is called (keys of GraphSpec.profiles).
PREFILL = "prefill"  # the prompt, or a part of it
STEP = "step"  # one position
CHUNK = "chunk"  # frames of a stream
WHOLE = "whole"  # as much as the codec is ever given at once

VOICE_TENSOR = "speaker"  # in voices/NAME.safetensors: float32 [speaker_channels]

# Facts that no shape shows. An ONNX file holds them as metadata, and `runtime.sessions.agreement`
# compares them with the manifest.
MAX_POSITIONS_FACT = "max_positions"
SAMPLE_RATE_FACT, HOP_FACT, DELAY_FACT = "sample_rate_hz", "hop_samples", "delay_frames"
IN_PLACE_FACT = "in_place"  # outputs of states that may share their input's memory, with commas

# Bounds on what a manifest can say, far beyond any real model.
MAX_POSITIONS = 2**20
MAX_RANGE = 2**24  # frames or samples of one call

DType = Literal["float32", "float16", "bfloat16", "int64", "int32", "bool"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8", "int4"]
HeadKind = Literal["linear", "mlp", "transformer", "lm_head"]  # the last one for NTP
Dimension = int | str
Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable, and strict about unknown fields."""


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
    """Sizes that a named dimension takes: least, most usual and greatest."""

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
    """What the plans of an engine directory were built for: they run nowhere else.

    `runtime.engine_check` compares it with the machine before a plan is deserialised.
    """

    version: str  # of the TensorRT library, exactly
    compute_capabilities: tuple[str, ...]  # "8.9"
    platform: str | None  # "linux-aarch64"; None: any that the library runs on
    precision: str
    source_sha256: str  # of the portable bundle's manifest.json
    source_options: str = ""  # what export.build was given to find the checkpoint or bundle
    timing_cache: str | None = None  # file; makes the next build on the same GPU faster


class EngineSpec(_Record, frozen=True):
    """What can run the graphs."""

    kind: str  # ONNXRUNTIME, or TENSORRT or TENSORRT_RTX
    dialect: str  # ORT: fused com.microsoft operators; PORTABLE: standard ONNX only
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
    sample_rate_hz: Annotated[int, msgspec.Meta(ge=1_000, le=768_000)]
    hop_samples: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    speaker_channels: Size
    # How late the decoder's audio is: a frame depends on so many later ones.
    delay_frames: Annotated[int, msgspec.Meta(ge=0, le=MAX_CALL_FRAMES)]


class Check(_Record, frozen=True):
    """One figure of the export's self-check or parity check, kept for the reader."""

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

    def referenced_files(self) -> list[str]:
        """Every file that loading will open."""
        graphs = self.graphs.values()
        weights = [graph.weights for graph in graphs if graph.weights]
        own = [self.tokenizer, self.embeddings, *self.voices.values()]
        return [*(graph.file for graph in graphs), *weights, *own]


class Bundle:
    """A checked bundle on disk: `manifest`, and `path(file)` for each file it lists."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def path(self, file: str) -> Path:
        """Absolute path of a listed file; `KeyError` if the manifest does not list it."""
        self.manifest.files[file]
        return self.folder / file

    def graph(self, name: str) -> GraphSpec:
        """The graph called `name`, or `UserError` if this bundle was built without it."""
        if name not in self.manifest.graphs:
            have = ", ".join(sorted(self.manifest.graphs))
            raise UserError(f"{self.folder}: has no {name} graph (it has {have}); export it again")
        return self.manifest.graphs[name]


def numpy_type(dtype: DType) -> str:
    """NumPy's name of the type. It has no bfloat16: those tensors are uint16 of the same bits."""
    return "uint16" if dtype == "bfloat16" else dtype


def load_bundle(folder: str | Path) -> Bundle:
    """Read and check a bundle directory.

    Schema, the numbers that must fit each other, paths, sizes and SHA-256 hashes are checked before
    any other library opens a file.

    Raises:
        UserError: not a bundle, a newer schema, one that contradicts itself, a file missing,
            changed or outside the folder.
    """
    from runtime.contract import check_manifest  # which is about the types of this file

    folder = Path(folder)
    require_unicode_path(folder.resolve())
    manifest = read_manifest(folder)
    check_manifest(manifest, str(folder / MANIFEST_FILE))
    _check_references(folder, manifest)
    with ThreadPoolExecutor() as pool:  # hashing large files takes seconds; it runs in parallel
        for checked in [
            pool.submit(_check_file, folder, file, record)
            for file, record in manifest.files.items()
        ]:
            checked.result()
    return Bundle(folder.resolve(), manifest)


def read_manifest(folder: Path) -> Manifest:
    """Parse and validate `folder/manifest.json` without looking at any other file."""
    path = folder / MANIFEST_FILE
    if not path.is_file():
        bare = folder.suffix == PLAN_SUFFIX or any(folder.glob(f"*{PLAN_SUFFIX}"))
        what = "a plan is not loaded without the" if bare else "not an engine directory: no"
        raise UserError(
            f"{folder}: {what} {MANIFEST_FILE} that vouches for it; "
            "make an engine directory with: python -m export.build --output DIR"
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise UserError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes; export again")
    return parse_manifest(path.read_bytes(), where=str(path))


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Decode manifest JSON; `where` names the source in error messages."""
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            newer = "newer" if version > SCHEMA_VERSION else "older"
            raise UserError(
                f"{where}: schema {version} is {newer} than this runtime's {SCHEMA_VERSION}; "
                "install the matching version or export again"
            )
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: not a valid manifest ({error}); export again") from None


def encode_manifest(manifest: Manifest) -> bytes:
    """JSON for people to read, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: Path) -> FileRecord:
    """Size and hash of a file that is being put into a bundle."""
    return FileRecord(size_bytes=path.stat().st_size, sha256=sha256_file(path))


class _Version(msgspec.Struct):
    schema_version: int


_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def _check_references(folder: Path, manifest: Manifest) -> None:
    missing = [file for file in manifest.referenced_files() if file not in manifest.files]
    if missing:
        raise UserError(f"{folder / MANIFEST_FILE}: no hash for {missing[0]}; export again")


def _check_file(folder: Path, file: str, record: FileRecord) -> None:
    if not all(_SAFE_NAME.fullmatch(part) for part in file.split("/")):
        raise UserError(f"{folder / MANIFEST_FILE}: unsafe file name {file!r}; export again")
    path = folder / PurePosixPath(file)
    if path.is_symlink() or any(parent.is_symlink() for parent in _parents_below(folder, path)):
        copy = shlex.join(["cp", "-rL", str(folder), "DIR"])
        raise UserError(
            f"{path}: is a link, as in a hub's cache; a bundle holds plain files only: "
            f"copy it with: {copy}"
        )
    if not path.is_file():
        raise UserError(f"{path}: missing from the bundle; export again")
    size = path.stat().st_size
    if size != record.size_bytes:
        raise UserError(
            f"{path}: {size} bytes instead of {record.size_bytes}; copy or export again"
        )
    if sha256_file(path) != record.sha256:
        raise UserError(f"{path}: content differs from its hash; copy or export again")


def _parents_below(folder: Path, path: Path) -> list[Path]:
    return [parent for parent in path.parents if folder in parent.parents]
