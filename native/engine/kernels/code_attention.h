// Attention of one step over a cache of int8 codes.
//
// In: as in attention.h; a cache in int8 (cache_format.h). Queries become codes as well, with a
// scale for each block of channels, and so do the weights of the values, with one for each 64
// positions. Sums of codes are exact. Included by attention.h.
#pragma once

#include "kernels/attention_tiles.h"
#include "kernels/code_products.h"
#include "kernels/quantizing.h"

namespace slm {
namespace {

inline constexpr int kWeightPanels = 4;  // panels of positions whose weights share a scale
inline constexpr int kGroup = 4;         // codes that a product takes at a time
inline constexpr int kGroupBytes = kGroup * kPanel;

// The codes of a tile's queries.
template <int kHeads>
struct QueryCodes {
  std::int8_t codes[kHeads][kMostHeadDim];
  float scales[kHeads][kMostHeadDim / kKeyBlock];
  std::int32_t sums[kHeads][kMostHeadDim / kKeyBlock];

  QueryCodes(const Attention& a, int first_head) {
    const int width = code_width(a.head_dim);
    for (int h = 0; h < kHeads; ++h) {
      const float* const query = a.query + (first_head + h) * a.query_stride;
      for (int begin = 0; begin < width; begin += kKeyBlock) {
        const int channels = width - begin < kKeyBlock ? width - begin : kKeyBlock;
        const BlockScale found = quantize_block(query + begin, a.head_dim - begin, nullptr,
                                                channels, codes[h] + begin);
        scales[h][begin / kKeyBlock] = found.scale;
        sums[h][begin / kKeyBlock] = found.sum;
      }
    }
  }
};

// Codes of the weights of kWeightPanels panels. They take the place of the weights themselves,
// which have four times as many bytes; scale and sum lie before them.
struct WeightCodes {
  static constexpr int kHead = 16;  // bytes before the codes

  std::byte* place;

  explicit WeightCodes(float* weights) : place(reinterpret_cast<std::byte*>(weights)) {}

  std::int8_t* codes() const { return reinterpret_cast<std::int8_t*>(place + kHead); }
  float scale() const {
    float scale;
    std::memcpy(&scale, place, sizeof scale);
    return scale;
  }
  std::int32_t sum() const {
    std::int32_t sum;
    std::memcpy(&sum, place + sizeof(float), sizeof sum);
    return sum;
  }
  void set(float scale, std::int32_t sum) const {
    std::memcpy(place, &scale, sizeof scale);
    std::memcpy(place + sizeof scale, &sum, sizeof sum);
  }
};

// Heads first_head … first_head + kHeads - 1.
template <int kHeads>
struct CodeAttentionTile {
  static constexpr int kBeside = beside(kHeads);

  static void run(const Attention& a, int first_head) {
    const QueryCodes<kHeads> query(a, first_head);
    const int panels = count_panels(a.length);
    for (int panel = 0; panel < panels; panel += kBeside) score(a, query, first_head, panel, panels);
    for (int byte = 0; byte < kValuesAhead; byte += kLine) prefetch(a.values, byte);
    float factors[kHeads];
    for (int h = 0; h < kHeads; ++h) {
      float* const weights = scores_of(a, first_head + h);
      factors[h] = exponentiate(weights, a.length);
      for (int panel = 0; panel < panels; panel += kWeightPanels) encode(a, weights, panel, panels);
    }
    const int width = code_width(a.head_dim);
    int channel = 0;
    for (; channel + kBeside * kPanel <= width; channel += kBeside * kPanel) {
      mix<kBeside>(a, first_head, channel, factors);
    }
    for (; channel < width; channel += kPanel) mix<1>(a, first_head, channel, factors);
  }

 private:
  // Scores of panels panel … panel + kBeside - 1; those behind the last one are computed of the last
  // one, but not stored.
  static void score(const Attention& a, const QueryCodes<kHeads>& query, int first_head, int panel,
                    int panels) {
    const std::size_t bytes = key_panel_bytes(CacheFormat::int8, a.head_dim);
    const std::uint8_t* codes[kBeside];
    const std::uint8_t* scales[kBeside];
    float* scores[kBeside];
    SLM_UNROLL for (int p = 0; p < kBeside; ++p) {
      const int place = panel + p < panels ? panel + p : panels - 1;
      codes[p] = static_cast<const std::uint8_t*>(a.keys) + static_cast<std::size_t>(place) * bytes;
      scales[p] = codes[p] + panel_code_bytes(a.head_dim);
      scores[p] = scores_of(a, first_head) + place * kPanel;
    }
    const std::ptrdiff_t stride = round_up(a.length, kPanel);
    const int width = code_width(a.head_dim);
    for (int begin = 0, block = 0; begin < width; begin += kKeyBlock, ++block) {
      const int end = begin + kKeyBlock < width ? begin + kKeyBlock : width;
      i32x16 total[kHeads][kBeside];
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
        const i32x16 start = without_offset(kCodeOffset, query.sums[h][block]);
        SLM_UNROLL for (i32x16& one : total[h]) one = start;
      }
      for (int d = begin; d < end; d += kGroup) {
        Codes key[kBeside];
        SLM_UNROLL for (int p = 0; p < kBeside; ++p) {
          key[p] = load_codes(codes[p]);
          prefetch(codes[p], kKeysAhead);
          codes[p] += kGroupBytes;
        }
        SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
          const std::int32_t four = four_at(query.codes[h] + d);
          SLM_UNROLL for (int p = 0; p < kBeside; ++p) total[h][p] = dot4(total[h][p], key[p], four);
        }
      }
      SLM_UNROLL for (int p = 0; p < kBeside; ++p) {
        if (panel + p >= panels) continue;
        const f32x16 scale = load(reinterpret_cast<const float*>(scales[p]) + block * kPanel);
        SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
          float* const score = scores[p] + h * stride;
          const f32x16 before = block == 0 ? splat(0.0f) : load(score);
          store(score, fma(to_float(total[h][p]), splat(query.scales[h][block]) * scale, before));
        }
      }
    }
  }

  // The weights of a block of panels times the values' scales become codes.
  static void encode(const Attention& a, float* weights, int panel, int panels) {
    const std::size_t bytes = value_panel_bytes(CacheFormat::int8, a.head_dim);
    const int count = panels - panel < kWeightPanels ? panels - panel : kWeightPanels;
    float* const first = weights + panel * kPanel;
    f32x16 scaled[kWeightPanels];
    f32x16 most = splat(0.0f);
    for (int p = 0; p < count; ++p) {
      const auto* const scales = reinterpret_cast<const float*>(
          static_cast<const std::uint8_t*>(a.values) +
          static_cast<std::size_t>(panel + p) * bytes + panel_code_bytes(a.head_dim));
      const int left = a.length - (panel + p) * kPanel;
      scaled[p] = left >= kPanel ? load(first + p * kPanel) * load(scales)
                                 : load(first + p * kPanel, left) * load(scales, left);
      most = max(most, scaled[p]);
    }
    const float magnitude = largest(most);
    const f32x16 factor = splat(magnitude > 0.0f ? kLargestCode / magnitude : 0.0f);
    const WeightCodes codes(first);
    i32x16 sums = splat(0);
    for (int p = 0; p < count; ++p) {
      const i32x16 code = to_int(bounded(round(scaled[p] * factor)));
      store_bytes(codes.codes() + p * kPanel, code);
      sums = sums + code;
    }
    codes.set(magnitude / kLargestCode, sum(sums));
  }

  // Channels channel …, kVectors · 16 of them.
  template <int kVectors>
  static void mix(const Attention& a, int first_head, int channel, const float (&factors)[kHeads]) {
    f32x16 total[kHeads][kVectors];
    SLM_UNROLL for (auto& head : total) {
      SLM_UNROLL for (f32x16& one : head) one = splat(0.0f);
    }
    const std::ptrdiff_t stride = round_up(a.length, kPanel);
    const int panels = count_panels(a.length);
    for (int panel = 0; panel < panels; panel += kWeightPanels) {
      const int count = panels - panel < kWeightPanels ? panels - panel : kWeightPanels;
      float* const weights = scores_of(a, first_head) + panel * kPanel;
      i32x16 sums[kHeads][kVectors];
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
        const i32x16 start = without_offset(kCodeOffset, WeightCodes(weights + h * stride).sum());
        SLM_UNROLL for (i32x16& one : sums[h]) one = start;
      }
      for (int p = 0; p < count; ++p) add_panel(a, sums, weights, stride, channel, panel, p);
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
        const f32x16 scale = splat(WeightCodes(weights + h * stride).scale());
        SLM_UNROLL for (int v = 0; v < kVectors; ++v) {
          total[h][v] = fma(to_float(sums[h][v]), scale, total[h][v]);
        }
      }
    }
    SLM_UNROLL for (int v = 0; v < kVectors; ++v) {
      const int left = a.head_dim - channel - v * kPanel;
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
        float* const output = a.output + (first_head + h) * a.output_stride + channel;
        store_some(output + v * kPanel, total[h][v] / splat(factors[h]),
                   left < kPanel ? left : kPanel);
      }
    }
  }

  // Values of panel `panel` + p, whose weights' codes are number p of their block.
  template <int kVectors>
  static void add_panel(const Attention& a, i32x16 (&sums)[kHeads][kVectors], float* weights,
                        std::ptrdiff_t stride, int channel, int panel, int p) {
    const std::size_t bytes = value_panel_bytes(CacheFormat::int8, a.head_dim);
    const std::uint8_t* const values = static_cast<const std::uint8_t*>(a.values) +
                                       static_cast<std::size_t>(panel + p) * bytes;
    // The first channels bring in the lines of all.
    if (channel == 0) {
      for (int byte = 0; byte < static_cast<int>(bytes); byte += kLine) {
        prefetch(values, kValuesAhead + byte);
      }
    }
    const std::size_t row = static_cast<std::size_t>(code_width(a.head_dim)) * kGroup;
    SLM_UNROLL for (int g = 0; g < kPanel / kGroup; ++g) {
      Codes value[kVectors];
      SLM_UNROLL for (int v = 0; v < kVectors; ++v) {
        value[v] = load_codes(values + static_cast<std::size_t>(g) * row +
                              static_cast<std::size_t>(channel + v * kPanel) * kGroup);
      }
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
        const std::int32_t four =
            four_at(WeightCodes(weights + h * stride).codes() + p * kPanel + g * kGroup);
        SLM_UNROLL for (int v = 0; v < kVectors; ++v) sums[h][v] = dot4(sums[h][v], value[v], four);
      }
    }
  }
};

// As kernels take it: code + 128.
inline std::uint8_t stored_code(std::int8_t code) {
  return static_cast<std::uint8_t>(static_cast<std::uint8_t>(code) ^ 0x80u);
}

// Only bytes of this position are written: others may be written at the same time.
inline void store_key_codes(const float* key, int head_dim, int position, void* keys) {
  const int width = code_width(head_dim), lane = position % kPanel;
  auto* const panel = static_cast<std::uint8_t*>(keys) +
                      static_cast<std::size_t>(position / kPanel) *
                          key_panel_bytes(CacheFormat::int8, head_dim);
  auto* const scales = reinterpret_cast<float*>(panel + panel_code_bytes(head_dim));
  for (int begin = 0; begin < width; begin += kKeyBlock) {
    const int channels = width - begin < kKeyBlock ? width - begin : kKeyBlock;
    std::int8_t codes[kKeyBlock];
    scales[begin / kKeyBlock * kPanel + lane] =
        quantize_block(key + begin, head_dim - begin, nullptr, channels, codes).scale;
    for (int d = 0; d < channels; ++d) {
      const int channel = begin + d;
      panel[channel / kGroup * kGroupBytes + lane * kGroup + channel % kGroup] =
          stored_code(codes[d]);
    }
  }
}

inline void store_value_codes(const float* value, int head_dim, int position, void* values) {
  const int width = code_width(head_dim), lane = position % kPanel;
  auto* const panel = static_cast<std::uint8_t*>(values) +
                      static_cast<std::size_t>(position / kPanel) *
                          value_panel_bytes(CacheFormat::int8, head_dim);
  std::int8_t codes[kMostHeadDim];
  reinterpret_cast<float*>(panel + panel_code_bytes(head_dim))[lane] =
      quantize_block(value, head_dim, nullptr, width, codes).scale;
  for (int c = 0; c < width; ++c) {
    panel[(std::ptrdiff_t{lane / kGroup} * width + c) * kGroup + lane % kGroup] =
        stored_code(codes[c]);
  }
}

}  // namespace
}  // namespace slm
