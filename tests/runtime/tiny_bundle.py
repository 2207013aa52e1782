"""A bundle whose graphs are written by hand, so that every code and sample can be foretold.

The "model" tells in its codes what it was given. Step s (0, 1, 2 …) of the loop yields, per frame,

    a = SCRIPT_START + s (plus noise when sampling), or what the scenario says;
    b = the value fed back by the step before (at s = 0: the prompt's last token id);
    c = positions in the KV cache after the call.

Every row counts for itself. The backbone counts its calls in one state that works in place and in
one that does not. The codec's receptive field is exactly `LEFT` and `RIGHT` frames. All dimensions
differ. A codec with fewer streams than three has the first of these columns; a fourth one repeats
the first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import msgspec
import numpy as np
import onnx
import onnx.parser
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from formats.speaker_files import SPEAKER_TENSOR
from runtime.bundle import names
from runtime.bundle.loading import describe_file
from runtime.bundle.manifest import (
    ChatSpec,
    CodecSpec,
    DType,
    EngineSpec,
    GraphSpec,
    LanguageModelSpec,
    LengthBound,
    Manifest,
    PromptSpec,
    SamplingDefaults,
    StateSpec,
    TensorSpec,
    encode_manifest,
    read_manifest,
)

HIDDEN_SIZE = 6
KV_HEADS, HEAD_DIM = 2, 5
SPEAKER_CHANNELS = 7
HOP = 4
LEFT, RIGHT = 3, 2
SAMPLE_RATE_HZ = 16_000
SCRIPT_START = 10
STREAMS = (1024, 1024, 1024)
MAX_POSITIONS = 400
ROWS = 16
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,!?\n"
SPECIAL_TOKENS = ["<bos>", "<sosp>", "<|placeholder|>", "<eos>", "<a7>", "<eosp>"]
SPEAKER = np.linspace(-0.5, 0.7, SPEAKER_CHANNELS, dtype=np.float32)


@dataclass(frozen=True)
class Scenario:
    """What the scripted model does.

    codes_a: column a, step by step (of the first frame of the step; the others count on);
    after the last entry the model draws `<eosp>`. kept: codes kept of a step, where not all are.
    writes: the text head's script, spelt as tokens; without it there is no text head. Steps count
    calls of the backbone, so speech that follows n tokens of text begins at step n. streams: of the
    codec.
    """

    heads: int = 3
    kind: Literal["mtp", "ntp"] = "mtp"
    codes_a: Sequence[int] = tuple(range(SCRIPT_START, SCRIPT_START + 12))
    kept: dict[int, int] = field(default_factory=dict)
    speaker_aware: bool = False
    frontend: dict[str, str] = field(default_factory=lambda: {"kind": "none"})
    frames_per_token: float = 4.0
    template: str = "say {text} now <sosp>"
    writes: str | None = None
    max_tokens: int = 30
    more_characters: str = ""  # that the tokenizer holds, such as phonemes
    sample_rate_hz: int = SAMPLE_RATE_HZ  # of the codec
    streams: tuple[int, ...] = STREAMS

    @property
    def end(self) -> int:
        """`<eosp>` of the first stream."""
        return self.streams[0]


def write_bundle(folder: Path, scenario: Scenario | None = None) -> Path:
    """Write the bundle and return its folder."""
    scenario = scenario or Scenario()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "voices").mkdir(parents=True)
    tokenizer = make_tokenizer(scenario.more_characters)
    tokenizer.save(str(folder / "tokenizer.json"))
    rows = tokenizer.get_vocab_size()
    table = np.zeros((rows, HIDDEN_SIZE), np.float32)
    table[:, 2] = np.arange(rows)
    np.save(folder / "embeddings.npy", table)
    save_file({SPEAKER_TENSOR: SPEAKER}, folder / "voices" / "plain.safetensors")
    facts = _facts(scenario)
    graphs = {
        name: _write_graph(folder, name, *parts, facts.get(name, {}))
        for name, parts in _graphs(scenario).items()
    }
    manifest = _manifest(folder, scenario, tokenizer, graphs)
    (folder / names.MANIFEST_FILE).write_bytes(encode_manifest(manifest))
    return folder


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """Replace top-level fields of a written manifest."""
    manifest = msgspec.structs.replace(read_manifest(folder), **changes)
    (folder / names.MANIFEST_FILE).write_bytes(encode_manifest(manifest))


def with_fixed_capacity(spec: GraphSpec) -> GraphSpec:
    """The graph as the portable dialect has it: room for the model's positions."""

    def fixed(tensor: TensorSpec) -> TensorSpec:
        shape = tuple(MAX_POSITIONS if size == names.CAPACITY else size for size in tensor.shape)
        return msgspec.structs.replace(tensor, shape=shape)

    return msgspec.structs.replace(
        spec, inputs=tuple(map(fixed, spec.inputs)), outputs=tuple(map(fixed, spec.outputs))
    )


def make_tokenizer(more_characters: str = "") -> Tokenizer:
    """One token a character, and the special ones."""
    vocabulary = {character: index for index, character in enumerate(CHARACTERS + more_characters)}
    vocabulary["[unk]"] = len(vocabulary)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that the tokenizer has."""
    return tokenizer.get_vocab()[token]


def prompt_ids(text: str, template: str = Scenario.template) -> list[int]:
    """Token ids of a prompt, bos included."""
    tokenizer = make_tokenizer()
    ids = tokenizer.encode(template.replace("{text}", text), add_special_tokens=False).ids
    return [token_id(tokenizer, "<bos>"), *ids]


def expected_frames(text: str, scenario: Scenario, max_steps: int = 10_000) -> list[list[int]]:
    """The frames that greedy decoding must give."""
    ids = prompt_ids(text, scenario.template)
    fed = ids[-1]
    codes: list[int] = []
    for step, a in enumerate(scenario.codes_a[:max_steps]):
        slot = step % len(scenario.streams)
        cached = len(ids) + step
        drawn = _drawn(scenario, a, fed, cached, slot)
        codes += drawn[: scenario.kept.get(step, len(drawn))]
        fed = drawn[0]
    streams = len(scenario.streams)
    whole = len(codes) - len(codes) % streams
    return np.array(codes[:whole], np.int64).reshape(-1, streams).tolist()


def _drawn(scenario: Scenario, a: int, fed: int, cached: int, slot: int) -> list[int]:
    streams = len(scenario.streams)
    if scenario.kind == "ntp":
        return [a, fed, cached, a][slot : slot + 1]
    groups = range(scenario.heads // streams)
    return [code for group in groups for code in (a + group, fed, cached, a)[:streams]]


# What the files themselves tell, for the runtime to compare with the manifest.


def _facts(scenario: Scenario) -> dict[str, dict[str, str]]:
    codec = {names.SAMPLE_RATE_FACT: str(scenario.sample_rate_hz), names.HOP_FACT: str(HOP)}
    return {
        names.BACKBONE: {names.MAX_POSITIONS_FACT: str(MAX_POSITIONS)},
        names.CODEC_DECODER: codec | {names.DELAY_FACT: str(RIGHT)},
        names.CODEC_ENCODER: codec,
    }


# Graphs in ONNX's own text form; constants stand in front of the body.

_GraphText = tuple[str, tuple[StateSpec, ...]]


def _graphs(scenario: Scenario) -> dict[str, _GraphText]:
    graphs = {
        names.BACKBONE: _backbone(),
        names.CODEC_DECODER: _codec_decoder(len(scenario.streams)),
        names.CODEC_ENCODER: _codec_encoder(len(scenario.streams)),
        (names.MTP_HEAD if scenario.kind == "mtp" else names.NTP_HEAD): _head(scenario),
    }
    if scenario.speaker_aware:
        graphs[names.SPEAKER_PROJECTION] = _speaker_projection()
    if scenario.writes is not None:
        graphs[names.TEXT_HEAD] = _text_head(scenario.writes)
    return graphs


def _backbone() -> _GraphText:
    """Columns of `hidden`: positions cached after this call; calls before it; the embedding's
    column 2; the sum over positions of its column 3; its columns 4 and 5."""
    cache = f"float[rows,{KV_HEADS},capacity,{HEAD_DIM}]"
    text = f"""
    backbone (float[rows,positions,{HIDDEN_SIZE}] inputs_embeds, int64[rows] past_length,
              {cache} past_key_0, {cache} past_value_0)
          => (float[rows,positions,{HIDDEN_SIZE}] hidden,
              {cache} present_key_0, {cache} present_value_0)
    <float[1] one = {{1}}, float[1] half = {{0.5}}, float[1] nought = {{0}},
     int64[3] in_row = {{1, 2, 3}}, int64[3] a_row_each = {{-1, 1, 1}},
     int64[1] two = {{2}}, int64[1] three = {{3}}, int64[1] four = {{4}},
     int64[1] six = {{{HIDDEN_SIZE}}}, int64[1] position_axis = {{1}}, int64[1] last_axis = {{2}}>
    {{
      key_calls = ReduceMax<keepdims = 1>(past_key_0, in_row)
      value_calls = ReduceMax<keepdims = 1>(past_value_0, in_row)
      both_calls = Add(key_calls, value_calls)
      calls_before = Mul(both_calls, half)
      nothing = Mul(key_calls, nought)
      one_after_reading = Add(nothing, one)
      present_key_0 = Add(past_key_0, one_after_reading)
      present_value_0 = Add(past_value_0, one)
      positions_now = Shape<start = 1, end = 2>(inputs_embeds)
      cached = Add(past_length, positions_now)
      cached_float = Cast<to = 1>(cached)
      column_0 = Reshape(cached_float, a_row_each)
      column_1 = Reshape(calls_before, a_row_each)
      sums = ReduceSum(inputs_embeds, position_axis)
      column_3 = Slice(sums, three, four, last_axis)
      column_2s = Slice(inputs_embeds, two, three, last_axis)
      columns_45s = Slice(inputs_embeds, four, six, last_axis)
      zeros = Mul(column_2s, nought)
      column_0s = Add(zeros, column_0)
      column_1s = Add(zeros, column_1)
      column_3s = Add(zeros, column_3)
      hidden = Concat<axis = 2>(column_0s, column_1s, column_2s, column_3s, columns_45s)
    }}"""
    states = (
        StateSpec(input="past_key_0", output="present_key_0", in_place=True),
        StateSpec(input="past_value_0", output="present_value_0", in_place=False),
    )
    return text, states


def _head(scenario: Scenario) -> _GraphText:
    """Codes by the script. Sampling (top_k > 1) adds up to 400 * temperature to column a."""
    ntp, streams = scenario.kind == "ntp", len(scenario.streams)
    heads = 1 if ntp else scenario.heads
    entries = max(scenario.streams) + (1 if ntp else 2)
    seen = f"bool[rows,{streams if ntp else heads},{entries}]"
    script = [*scenario.codes_a, scenario.end]
    kept = [scenario.kept.get(step, heads) for step in range(len(script) - 1)] + [0]
    slot_input, slot_output = (
        (", int64[rows] past_slot", ", int64[rows] present_slot") if ntp else ("", "")
    )
    text = f"""
    head (float[rows,positions,{HIDDEN_SIZE}] hidden, float[rows] repetition_penalty,
          float[rows] temperature, int64[rows] top_k, float[rows] top_p, float[rows,{heads}] noise,
          {seen} past_seen{slot_input})
      => (int64[rows,{heads}] codes, int64[rows] kept_codes, bool[rows] stop,
          float[rows,1,{HIDDEN_SIZE}] next_embedding, {seen} present_seen{slot_output})
    <int64[{len(script)}] script = {{{_numbers(script)}}},
     int64[{len(kept)}] kept_by_step = {{{_numbers(kept)}}},
     int64[{heads}] count_on = {{{_numbers([head // streams for head in range(heads)])}}},
     int64[1] end = {{{scenario.end}}}, int64[1] last_step = {{{len(script) - 1}}},
     float[1] spread = {{400}}, float[1] nought = {{0}},
     int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}},
     int64[1] four = {{4}}, int64[1] minus_one = {{-1}}, int64[1] far = {{1000000}},
     int64[1] count = {{{streams}}}, int64[2] groups = {{1, {max(1, heads // streams)}}}>
    {{
      last = Slice(hidden, minus_one, far, one)
      row = Squeeze(last, one)
      row_int = Cast<to = 7>(row)
      cached = Slice(row_int, zero, one, one)
      calls = Slice(row_int, one, two, one)
      fed_token = Slice(row_int, two, three, one)
      speaker_mark = Slice(row_int, three, four, one)
      fed = Add(fed_token, speaker_mark)
      step = Min(calls, last_step)
      scripted = Gather(script, step)
      first_noise = Slice(noise, zero, one, one)
      temperatures = Unsqueeze(temperature, one)
      warm_noise = Mul(first_noise, temperatures)
      wide_noise = Mul(warm_noise, spread)
      jump = Cast<to = 7>(wide_noise)
      top_ks = Unsqueeze(top_k, one)
      sampling = Greater(top_ks, one)
      sampled_jump = Where(sampling, jump, zero)
      stops = Equal(scripted, end)
      stop = Squeeze(stops, one)
      applied_jump = Where(stops, zero, sampled_jump)
      a = Add(scripted, applied_jump)
      kept_each = Gather(kept_by_step, step)
      kept_codes = Squeeze(kept_each, one)
      present_seen = Not(past_seen)
      all_columns = Concat<axis = 1>(a, fed, cached, a)
      frame = Slice(all_columns, zero, count, one)
      {_NTP_CODES if ntp else _MTP_CODES.format(is_a=[1] + [0] * (streams - 1))}
      drawn = Slice(codes, zero, one, one)
      drawn_float = Cast<to = 1>(drawn)
      blank = Mul(drawn_float, nought)
      next_row = Concat<axis = 1>(blank, blank, drawn_float, blank, blank, blank)
      next_embedding = Unsqueeze(next_row, one)
    }}"""
    states = [StateSpec(input="past_seen", output="present_seen", in_place=False)]
    if ntp:
        states.append(StateSpec(input="past_slot", output="present_slot", in_place=False))
    return text, tuple(states)


_MTP_CODES = """frames = Tile(frame, groups)
      only_a = Where(stops, zero, count_on)
      is_a = Constant<value_ints = {is_a}>()
      is_a_row = Unsqueeze(is_a, zero)
      is_a_tiled = Tile(is_a_row, groups)
      added = Mul(only_a, is_a_tiled)
      codes = Add(frames, added)"""
_NTP_CODES = """slots = Unsqueeze(past_slot, one)
      by_slot = GatherElements<axis = 1>(frame, slots)
      codes = Where(stops, a, by_slot)
      next_slot = Add(past_slot, one)
      present_slot = Mod(next_slot, count)"""


def _codec_decoder(streams: int) -> _GraphText:
    """One convolution over LEFT + 1 + RIGHT frames, HOP samples a frame, plus the voice.

    The state holds the LEFT + RIGHT frames before this call's; outside the utterance, all are 0.
    """
    width = LEFT + 1 + RIGHT
    weights = np.random.default_rng(0).standard_normal(HOP * streams * width).round(3)
    context = f"float[rows,{streams},{LEFT + RIGHT}]"
    text = f"""
    codec_decoder (int64[rows,frames,{streams}] frames, float[rows,{SPEAKER_CHANNELS}] speaker,
                   int64[rows] past_frames, int64[rows] utterance_frames, {context} past_context_0)
               => (float[rows,samples] audio, {context} present_context_0)
    <float[{HOP},{streams},{width}] weight = {{{_numbers(weights)}}}, float[1] scale = {{0.0005}},
     int64[2] flat = {{0, -1}}, int64[1] last_axis = {{1}}, int64 zero = {{0}}, int64 one = {{1}},
     int64[1] kept = {{{-LEFT - RIGHT}}}, int64[1] far = {{1000000}}, int64[1] time = {{2}}>
    {{
      length = Shape<start = 1, end = 2>(frames)
      count = Squeeze(length)
      index = Range(zero, count, one)
      pasts = Unsqueeze(past_frames, last_axis)
      totals = Unsqueeze(utterance_frames, last_axis)
      position = Add(index, pasts)
      inside = Less(position, totals)
      mask_row = Cast<to = 1>(inside)
      mask = Unsqueeze(mask_row, last_axis)
      codes = Cast<to = 1>(frames)
      scaled = Mul(codes, scale)
      channels = Transpose<perm = [0, 2, 1]>(scaled)
      masked = Mul(channels, mask)
      joined = Concat<axis = 2>(past_context_0, masked)
      present_context_0 = Slice(joined, kept, far, time)
      convolved = Conv(joined, weight)
      by_frame = Transpose<perm = [0, 2, 1]>(convolved)
      samples_raw = Reshape(by_frame, flat)
      voice = ReduceMean(speaker, last_axis)
      voiced = Add(samples_raw, voice)
      audio = Tanh(voiced)
    }}"""
    state = StateSpec(input="past_context_0", output="present_context_0", in_place=False)
    return text, (state,)


def _codec_encoder(streams: int) -> _GraphText:
    """Frames tell each frame's mean sample, the speaker tells the loudest sample."""
    text = f"""
    codec_encoder (float[1,samples] audio)
               => (int64[1,frames,{streams}] frames, float[1,{SPEAKER_CHANNELS}] speaker)
    <int64[1] hop = {{{HOP}}}, int64[1] zero = {{0}}, int64[1] axis = {{1}}, int64[1] last = {{2}},
     int64[3] by_frame = {{1, -1, {HOP}}}, int64[3] each = {{1, 1, {streams}}},
     int64[2] channels = {{1, {SPEAKER_CHANNELS}}}, float[1] scale = {{1000}}>
    {{
      length = Shape<start = 1>(audio)
      whole = Div(length, hop)
      usable = Mul(whole, hop)
      used = Slice(audio, zero, usable, axis)
      framed = Reshape(used, by_frame)
      means = ReduceMean(framed, last)
      loudness = Abs(means)
      scaled = Mul(loudness, scale)
      codes = Cast<to = 7>(scaled)
      frames = Tile(codes, each)
      peak = ReduceMax(audio, axis)
      speaker = Tile(peak, channels)
    }}"""
    return text, ()


def _speaker_projection() -> _GraphText:
    """Column 3 of the placeholder's embedding is 100 times the speaker's last channel."""
    matrix = np.zeros((SPEAKER_CHANNELS, HIDDEN_SIZE))
    matrix[-1, 3] = 100
    text = f"""
    speaker_projection (float[rows,{SPEAKER_CHANNELS}] speaker)
                    => (float[rows,1,{HIDDEN_SIZE}] speaker_token)
    <float[{SPEAKER_CHANNELS},{HIDDEN_SIZE}] weight = {{{_numbers(matrix.ravel())}}},
     int64[1] axis = {{1}}>
    {{
      projected = MatMul(speaker, weight)
      speaker_token = Unsqueeze(projected, axis)
    }}"""
    return text, ()


def _text_head(writes: str) -> _GraphText:
    """Tokens by the script, one for each call of the backbone; the last one again and again."""
    script = make_tokenizer().encode(writes, add_special_tokens=False).ids
    text = f"""
    text_head (float[rows,positions,{HIDDEN_SIZE}] hidden, float[rows] temperature,
               int64[rows] top_k, float[rows] top_p, float[rows,1] noise) => (int64[rows] token)
    <int64[{len(script)}] script = {{{_numbers(script)}}},
     int64[1] last_step = {{{len(script) - 1}}}, int64[1] one = {{1}}, int64[1] two = {{2}},
     int64[1] minus_one = {{-1}}, int64[1] far = {{1000000}}>
    {{
      last = Slice(hidden, minus_one, far, one)
      row = Squeeze(last, one)
      row_int = Cast<to = 7>(row)
      calls_column = Slice(row_int, one, two, one)
      calls = Squeeze(calls_column, one)
      step = Min(calls, last_step)
      token = Gather(script, step)
    }}"""
    return text, ()


def _chat(scenario: Scenario, tokenizer: Tokenizer) -> ChatSpec | None:
    if scenario.writes is None:
        return None
    return ChatSpec(
        template="ask {question}" + (" <|placeholder|>" if scenario.speaker_aware else ""),
        before_answer=" ",
        after_answer=" aloud ",
        speech_start_id=token_id(tokenizer, "<sosp>"),
        text_end_id=token_id(tokenizer, "<eos>"),
        max_tokens=scenario.max_tokens,
    )


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _write_graph(
    folder: Path, name: str, text: str, states: tuple[StateSpec, ...], facts: dict[str, str]
) -> GraphSpec:
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]> {text}')
    in_place = ",".join(state.output for state in states if state.in_place)
    onnx.helper.set_model_props(model, facts | {names.IN_PLACE_FACT: in_place})
    onnx.checker.check_model(model, full_check=True)
    file = f"{name}.onnx"
    onnx.save(model, folder / file)
    return GraphSpec(
        file=file,
        precision="fp32",
        inputs=tuple(_describe(value) for value in model.graph.input),
        outputs=tuple(_describe(value) for value in model.graph.output),
        states=states,
    )


def _describe(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    dtype = cast(DType, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)
    shape = tuple(size.dim_param or size.dim_value for size in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _manifest(
    folder: Path, scenario: Scenario, tokenizer: Tokenizer, graphs: dict[str, GraphSpec]
) -> Manifest:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Manifest(
        schema_version=names.SCHEMA_VERSION,
        engine=EngineSpec(kind="onnxruntime", dialect="ort", rows=ROWS),
        language_model=LanguageModelSpec(
            kind=scenario.kind,
            heads=1 if scenario.kind == "ntp" else scenario.heads,
            head_kind="lm_head" if scenario.kind == "ntp" else "linear",
            hidden_size=HIDDEN_SIZE,
            layers=1,
            kv_heads=KV_HEADS,
            head_dim=HEAD_DIM,
            max_positions=MAX_POSITIONS,
            speaker_aware=scenario.speaker_aware,
        ),
        prompt=PromptSpec(
            template=scenario.template,
            bos_id=token_id(tokenizer, "<bos>"),
            placeholder_id=token_id(tokenizer, "<|placeholder|>"),
            text_frontend=scenario.frontend,
        ),
        sampling=SamplingDefaults(),
        length=LengthBound(frames_per_token=scenario.frames_per_token, extra_frames=16),
        codec=CodecSpec(
            streams=scenario.streams,
            sample_rate_hz=scenario.sample_rate_hz,
            hop_samples=HOP,
            speaker_channels=SPEAKER_CHANNELS,
            delay_frames=RIGHT,
        ),
        graphs=graphs,
        tokenizer="tokenizer.json",
        embeddings="embeddings.npy",
        voices={"plain": "voices/plain.safetensors"},
        default_voice="plain",
        files={str(path.relative_to(folder)): describe_file(path) for path in files},
        built_with={"by": "hand"},
        chat=_chat(scenario, tokenizer),
    )
