// The sizes of a bundle's models: plain numbers, read from the weights' metadata and checked once.
//
// In: `Weights::facts()`. Out: structs that language_model/ and codec/ lay out memory by. Whatever
// the file says, every number here lies within its bounds, and those that must fit each other do.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "weights/json.h"

namespace slm {

inline constexpr int kMaxPositions = 1 << 20;
inline constexpr int kMaxHeads = 48;  // of a step
inline constexpr int kMaxStreams = 16;
inline constexpr int kMaxCodes = 65'536;  // of one stream

enum class HeadKind { linear, mlp, transformer, lm_head };

// The language model. `intermediate_size` etc. are as in the checkpoint's config.json.
struct ModelSizes {
  bool is_next_token = false;
  HeadKind head_kind = HeadKind::linear;
  int heads = 0;        // codes a step; 1 of a next-token model
  int head_layers = 0;  // decoder layers of each head; 0 unless head_kind is transformer
  int hidden_size = 0;  // query_heads * head_dim
  int intermediate_size = 0;
  int layers = 0;
  int query_heads = 0;  // a multiple of kv_heads
  int kv_heads = 0;
  int head_dim = 0;  // even
  int max_positions = 0;
  float rms_norm_epsilon = 0;
  Format precision = Format::fp32;
  CacheFormat cache = CacheFormat::float32;
  std::vector<int> streams;    // codes of each; heads is a multiple of their number, or 1
  int speaker_channels = 0;    // 0: not speaker-aware
  int speaker_hidden = 0;
  int text_vocabulary = 0;  // 0: no text head

  bool is_speaker_aware() const { return speaker_channels > 0; }
  bool has_text_head() const { return text_vocabulary > 0; }
  int total_codes() const;  // of all streams
};

enum class ContentEncoder { waveform, mel };

// The codec: the fields of codec.json (formats/checkpoint/codec_config.py) under their names.
struct CodecSizes {
  int sample_rate_hz = 0;
  int latent_channels = 0;  // also the speaker's
  bool is_alias_free = false;
  int decoder_channels = 0;  // halved by each decoder ratio
  std::vector<int> decoder_ratios;
  ContentEncoder content_encoder = ContentEncoder::waveform;
  int encoder_channels = 0;
  std::vector<int> encoder_ratios;  // of the same product
  int codebook_channels = 0;
  int content_codebooks = 0;
  int prosody_codebooks = 0;
  int residual_codebooks = 0;
  int prosody_bins = 0;
  int n_fft = 0;  // of the mel analysis
  int window_samples = 0;
  int mel_bins = 0;
  double highest_hz = 0;
  int transformer_layers = 0;
  int transformer_heads = 0;
  int transformer_ffn_channels = 0;
  Format precision = Format::fp32;  // of the decoder's convolutions: fp32, bf16 or int8
  int delay_frames = 0;
  int hop_samples = 0;       // the ratios' product
  std::vector<int> streams;  // codes of each: content books, then prosody books

  int speaker_channels() const { return latent_channels; }
};

// Throw Failure: a number is missing, out of bounds, or does not fit another.
ModelSizes read_model_sizes(const Json& facts);
CodecSizes read_codec_sizes(const Json& facts);

// "fp32", "bf16", "fp16", "int8", "int4".
const char* format_name(Format format);
// "float32", "float16", "int8".
const char* cache_name(CacheFormat format);
// Throws Failure unless the value is one of them.
Format read_format(const Json& value);

}  // namespace slm
