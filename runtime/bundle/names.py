"""Names in a bundle: of its graphs, of their tensors and dimensions, and of what can run them.

They are written here and nowhere else. Programs in other languages read them in the JSON. The
bounds of every manifest are here as well.
"""

from __future__ import annotations

SCHEMA_VERSION = 2
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

# Engines (EngineSpec.kind): the targets of an export. Those for GPUs run plans, which are built for
# certain ones.
ONNXRUNTIME = "onnxruntime"
NATIVE = "native"  # this project's own, for CPUs (docs/native-engine.md)
TENSORRT = "tensorrt"  # built on the device that runs it
TENSORRT_RTX = "tensorrt-rtx"  # built anywhere, for the GPUs of the RTX family
GPU_TARGETS = (TENSORRT_RTX, TENSORRT)
TARGETS = (ONNXRUNTIME, NATIVE, *GPU_TARGETS)

# Dialects of graphs (EngineSpec.dialect): ONNX Runtime's own operators; standard ones that TensorRT
# 10.15 and newer parse; those of them that TensorRT 10.3 parses.
ORT, PORTABLE, BASIC = "ort", "portable", "basic"
STANDARD = (PORTABLE, BASIC)  # no operators but ONNX's own: what plans are built from
DIALECTS = (ORT, *STANDARD)
# A bundle for the native engine has no graphs but packed weights, and `NATIVE` as its dialect. Its
# entries in Manifest.graphs all name the file of the weights and the tensors that go in and out;
# states stay inside of the engine, so there are none.
PACKED_WEIGHTS = "weights.safetensors"
STORED_PREFIXES = "prefixes.safetensors"  # of a native bundle: may be missing

# Dimensions that a run chooses. All others are fixed numbers in the manifest.
ROWS = "rows"  # utterances side by side, independent of each other
POSITIONS = "positions"  # positions in this call: the prompt's length, then 1
CAPACITY = "capacity"  # positions that the KV cache has room for
FRAMES = "frames"  # codec frames
SAMPLES = "samples"  # audio samples

# The first axis of every tensor below is the row, states included: a row is one utterance, and its
# results do not depend on other rows. A call takes 1 … EngineSpec.rows rows. Rows may be at
# different positions (`past_length`), but take the same number of positions or frames in one call.

# Backbone.                                     dtype    shape
INPUTS_EMBEDS = "inputs_embeds"  #              float32  [rows, positions, hidden_size]
PAST_LENGTH = "past_length"  #                  int64    [rows]  positions already in the cache
HIDDEN = "hidden"  #                            float32  [rows, positions, hidden_size]
PAST_KEY = "past_key_{layer}"  #                         [rows, kv_heads, capacity, head_dim]
PRESENT_KEY = "present_key_{layer}"
PAST_VALUE = "past_value_{layer}"
PRESENT_VALUE = "present_value_{layer}"
# Caches are in the graph's own number format. Their capacity is named in the ort dialect and a
# number, the model's max_positions, in the standard ones. In the ort dialect a call of several rows
# takes one position, or begins all of its rows: more positions after others come row by row.

# Heads. N codes a step, one a head: head i speaks stream i mod K of CodecSpec.streams. N is a
# multiple of K for MTP, 1 for NTP. A head of a stream of c codes has the entries 0 … c - 1, then
# <eosp> (c), then <|speech_pad|> (c + 1, MTP only). `entries` is the number of the largest stream;
# what lies beyond a head's own is never drawn. Greedy decoding is top_k = 1.
REPETITION_PENALTY = "repetition_penalty"  #    float32  [rows]
TEMPERATURE = "temperature"  #                  float32  [rows]
TOP_K = "top_k"  #                              int64    [rows]  1 … entries
TOP_P = "top_p"  #                              float32  [rows]
NOISE = "noise"  #                              float32  [rows, N]  uniform in [0, 1)
CODES = "codes"  #                              int64    [rows, N]  in each head's own vocabulary
KEPT_CODES = "kept_codes"  #                    int64    [rows]  leading codes that are speech
STOP = "stop"  #                                bool     [rows]  a head drew <eosp>
NEXT_EMBEDDING = "next_embedding"  #            float32  [rows, 1, hidden_size]
PAST_SEEN = "past_seen"  #                      bool     [rows, N (NTP: K), entries] drawn so far
PRESENT_SEEN = "present_seen"
PAST_SLOT = "past_slot"  #                      int64    [rows]  NTP: 0 … K - 1, whose turn it is
PRESENT_SLOT = "present_slot"
PAST_HEAD_KEY = "past_head_key_{layer}"  #               [rows, N * kv_heads, capacity, head_dim]
PRESENT_HEAD_KEY = "present_head_key_{layer}"
PAST_HEAD_VALUE = "past_head_value_{layer}"
PRESENT_HEAD_VALUE = "present_head_value_{layer}"
TOKEN = "token"  #                              int64    [rows]  text head: one of the vocabulary

# Speaker projection and codec. The encoder takes one recording at a time.
SPEAKER = "speaker"  #                          float32  [rows, speaker_channels]
SPEAKER_TOKEN = "speaker_token"  #              float32  [rows, 1, hidden_size]
CODEC_FRAMES = "frames"  #                      int64    [rows, frames, K]  a column a stream
AUDIO = "audio"  #                              float32  [rows, samples]

# Codec decoder: an utterance in chunks. Audio comes CodecSpec.delay_frames late, so as
# many frames of any codes follow the last one of the utterance.
PAST_FRAMES = "past_frames"  #                  int64    [rows]  frames in earlier calls
UTTERANCE_FRAMES = "utterance_frames"  #        int64    [rows]  all of them, or UNKNOWN_FRAMES
MAX_CALL_FRAMES = 400  # runtimes give the decoder more in several calls
# The last frame of the utterance has not come yet. It stands for hours, and yet for fewer samples
# than 2**31: Max and Min of ONNX Runtime 1.23 look at no more bits of an int64.
UNKNOWN_FRAMES = 2**20
PAST_CONTEXT, PRESENT_CONTEXT = "past_context_{index}", "present_context_{index}"  # of one layer

# Ways in which a graph is called (keys of GraphSpec.profiles).
PREFILL = "prefill"  # the prompt, or a part of it
STEP = "step"  # one position
CHUNK = "chunk"  # frames of a stream
WHOLE = "whole"  # as much as the codec is ever given at once

# Facts that no shape shows. An ONNX file holds them as metadata, and `runtime.engines.agreement`
# compares them with the manifest.
MAX_POSITIONS_FACT = "max_positions"
SAMPLE_RATE_FACT, HOP_FACT, DELAY_FACT = "sample_rate_hz", "hop_samples", "delay_frames"
IN_PLACE_FACT = "in_place"  # outputs of states that may share their input's memory, with commas

# Bounds on what a manifest can say, far beyond any real model.
MAX_POSITIONS = 2**20
MAX_RANGE = 2**24  # frames or samples of one call
MAX_ROWS = 256

_CACHES = tuple(
    name.partition("{")[0] for name in (PAST_KEY, PAST_VALUE, PAST_HEAD_KEY, PAST_HEAD_VALUE)
)


def is_cache(state: str) -> bool:
    """Whether a state's input holds keys or values, which prompts fill before anything is drawn."""
    return state.startswith(_CACHES)
