// Attention of one step over a cache of keys and values.
//
// In: rotated query heads that share one key/value head, and its cache. Out: their mixtures of the
// values. Every key and value is read once for all heads of a tile. Included after a simd_*.h.
#pragma once

#include "kernels/code_attention.h"
#include "kernels/float_attention.h"

namespace slm {
namespace {

template <template <int> class Tile>
void attend_over(const Attention& a) {
  static constexpr auto functions = []<int... kIndex>(std::integer_sequence<int, kIndex...>) {
    struct Functions {
      void (*of[kAttentionHeads])(const Attention&, int);
    };
    return Functions{{&Tile<kIndex + 1>::run...}};
  }(std::make_integer_sequence<int, kAttentionHeads>());
  const RowTiles tiles(a.group, kAttentionHeads);
  for (int tile = 0; tile < tiles.count; ++tile) {
    const int head = tiles.begin(tile);
    functions.of[tiles.begin(tile + 1) - head - 1](a, head);
  }
}

inline void attend(const Attention& a) {
  if (a.group <= 0 || a.length <= 0) return;
  switch (a.format) {
    case CacheFormat::float32:
      return attend_over<FloatAttentionTile>(a);
    case CacheFormat::float16:
      return attend_over<HalfAttentionTile>(a);
    case CacheFormat::int8:
      return attend_over<CodeAttentionTile>(a);
  }
}

inline void store_position(const float* key, const float* value, int head_dim, int position,
                           CacheFormat format, void* keys, void* values) {
  switch (format) {
    case CacheFormat::float32:
      return store_in<FloatCache>(key, value, head_dim, position, keys, values);
    case CacheFormat::float16:
      return store_in<HalfCache>(key, value, head_dim, position, keys, values);
    case CacheFormat::int8:
      store_key_codes(key, head_dim, position, keys);
      store_value_codes(value, head_dim, position, values);
  }
}

}  // namespace
}  // namespace slm
