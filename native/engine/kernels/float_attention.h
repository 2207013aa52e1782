// Attention of one step over a cache in float32 or float16.
//
// In: as in attention.h. Every key and value is read once for all heads of a tile. Included by
// attention.h.
#pragma once

#include "kernels/attention_tiles.h"

namespace slm {
namespace {

struct FloatCache {
  using Value = float;
  static f32x16 read(const float* p) { return load(p); }
  static f32x16 read(const float* p, int count) { return load(p, count); }
  static void write(float* p, f32x16 x, int count) { store(p, x, count); }
};

struct HalfCache {
  using Value = std::uint16_t;
  static f32x16 read(const std::uint16_t* p) { return load_half(p); }
  static f32x16 read(const std::uint16_t* p, int count) { return load_half(p, count); }
  static void write(std::uint16_t* p, f32x16 x, int count) { store_half(p, x, count); }
};

// Heads first_head … first_head + kHeads - 1.
template <typename Cache, int kHeads>
struct AttentionTile {
  static constexpr int kBeside = beside(kHeads);

  static void run(const Attention& a, int first_head) {
    const int panels = count_panels(a.length);
    for (int panel = 0; panel < panels; panel += kBeside) score(a, first_head, panel, panels);
    for (int byte = 0; byte < kValuesAhead; byte += kLine) prefetch(a.values, byte);
    float factors[kHeads];
    for (int h = 0; h < kHeads; ++h) {
      factors[h] = exponentiate(scores_of(a, first_head + h), a.length);
    }
    int channel = 0;
    for (; channel + kBeside * kPanel <= a.head_dim; channel += kBeside * kPanel) {
      mix<kBeside>(a, first_head, channel, kPanel, factors);
    }
    for (; channel < a.head_dim; channel += kPanel) {
      const int left = a.head_dim - channel;
      mix<1>(a, first_head, channel, left < kPanel ? left : kPanel, factors);
    }
  }

 private:
  // Scores of panels panel … panel + kBeside - 1; behind the last panel, of the last one again.
  static void score(const Attention& a, int first_head, int panel, int panels) {
    f32x16 total[kHeads][kBeside];
    const typename Cache::Value* keys[kBeside];
    int place[kBeside];
    SLM_UNROLL for (int p = 0; p < kBeside; ++p) {
      place[p] = panel + p < panels ? panel + p : panels - 1;
      keys[p] = static_cast<const typename Cache::Value*>(a.keys) +
                std::ptrdiff_t{place[p]} * a.head_dim * kPanel;
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) total[h][p] = splat(0.0f);
    }
    const float* const query = a.query + first_head * a.query_stride;
    for (int d = 0; d < a.head_dim; ++d) {
      f32x16 key[kBeside];
      SLM_UNROLL for (int p = 0; p < kBeside; ++p) {
        key[p] = Cache::read(keys[p] + std::ptrdiff_t{d} * kPanel);
        prefetch(keys[p] + std::ptrdiff_t{d} * kPanel, kKeysAhead);
      }
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
        const f32x16 q = splat(query[h * a.query_stride + d]);
        SLM_UNROLL for (int p = 0; p < kBeside; ++p) total[h][p] = fma(q, key[p], total[h][p]);
      }
    }
    SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
      SLM_UNROLL for (int p = 0; p < kBeside; ++p) {
        store(scores_of(a, first_head + h) + place[p] * kPanel, total[h][p]);
      }
    }
  }

  // Channels channel …, kVectors · 16 of them, or `some` of a single vector.
  template <int kVectors>
  static void mix(const Attention& a, int first_head, int channel, int some,
                  const float (&factors)[kHeads]) {
    f32x16 total[kHeads][kVectors];
    SLM_UNROLL for (auto& head : total) {
      SLM_UNROLL for (f32x16& one : head) one = splat(0.0f);
    }
    const auto* values = static_cast<const typename Cache::Value*>(a.values) + channel;
    const float* const scores = scores_of(a, first_head);
    const std::ptrdiff_t stride = round_up(a.length, kPanel);
    // The first channels bring in the lines of all.
    const int bytes = channel == 0 ? a.head_dim * static_cast<int>(sizeof *values) : 0;
    for (int position = 0; position < a.length; ++position, values += a.head_dim) {
      for (int byte = 0; byte < bytes; byte += kLine) prefetch(values, kValuesAhead + byte);
      f32x16 value[kVectors];
      SLM_UNROLL for (int v = 0; v < kVectors; ++v) {
        value[v] = some == kPanel ? Cache::read(values + v * kPanel) : Cache::read(values, some);
      }
      SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
        const f32x16 weight = splat(scores[h * stride + position]);
        SLM_UNROLL for (int v = 0; v < kVectors; ++v) {
          total[h][v] = fma(weight, value[v], total[h][v]);
        }
      }
    }
    SLM_UNROLL for (int h = 0; h < kHeads; ++h) {
      float* const output = a.output + (first_head + h) * a.output_stride + channel;
      SLM_UNROLL for (int v = 0; v < kVectors; ++v) {
        store_some(output + v * kPanel, total[h][v] / splat(factors[h]), some);
      }
    }
  }
};

template <int kHeads>
struct FloatAttentionTile : AttentionTile<FloatCache, kHeads> {};
template <int kHeads>
struct HalfAttentionTile : AttentionTile<HalfCache, kHeads> {};

template <typename Cache>
void store_in(const float* key, const float* value, int head_dim, int position, void* keys,
              void* values) {
  auto* const panel = static_cast<typename Cache::Value*>(keys) +
                      std::ptrdiff_t{position / kPanel} * head_dim * kPanel + position % kPanel;
  auto* const row = static_cast<typename Cache::Value*>(values) +
                    std::ptrdiff_t{position} * head_dim;
  for_each_16(key, head_dim, [&](f32x16 channels, int d, int some) {
    typename Cache::Value converted[kPanel];
    Cache::write(converted, channels, kPanel);
    for (int i = 0; i < some; ++i) panel[std::ptrdiff_t{d + i} * kPanel] = converted[i];
  });
  for_each_16(value, head_dim,
              [&](f32x16 channels, int d, int some) { Cache::write(row + d, channels, some); });
}

}  // namespace
}  // namespace slm
