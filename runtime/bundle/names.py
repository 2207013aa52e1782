"""Names in a bundle: of its graphs, of their tensors and dimensions, and of what can run them.

Written here and nowhere else; other languages read the JSON. Bounds that every manifest keeps are
here as well.
"""

from __future__ import annotations

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

# Engines (EngineSpec.kind): the targets of an export. The latter two run plans, which are built
# for certain GPUs.
ONNXRUNTIME = "onnxruntime"
TENSORRT = "tensorrt"  # built on the device that runs it
TENSORRT_RTX = "tensorrt-rtx"  # built anywhere, for the GPUs of the RTX family
TARGETS = (ONNXRUNTIME, TENSORRT_RTX, TENSORRT)

# Dialects of graphs (EngineSpec.dialect).
ORT, PORTABLE = "ort", "portable"
DIALECTS = (ORT, PORTABLE)

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

# Facts that no shape shows. An ONNX file holds them as metadata, and `runtime.engines.agreement`
# compares them with the manifest.
MAX_POSITIONS_FACT = "max_positions"
SAMPLE_RATE_FACT, HOP_FACT, DELAY_FACT = "sample_rate_hz", "hop_samples", "delay_frames"
IN_PLACE_FACT = "in_place"  # outputs of states that may share their input's memory, with commas

# Bounds on what a manifest can say, far beyond any real model.
MAX_POSITIONS = 2**20
MAX_RANGE = 2**24  # frames or samples of one call
