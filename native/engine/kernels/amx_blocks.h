// Products of the language model's int8 and int4 weights by AMX: one exact sum for each block.
//
// In: rows of codes with a scale for each block. Out: the same bits as multiply_blocks, for 16 rows
// and more. Included after a simd_*.h.
#pragma once

#include "kernels/amx_products.h"

namespace slm {
namespace {

// Scaled sums of the blocks so far, [tile][panel][row][output].
struct alignas(64) BlockTotals {
  float of[2][2][kTileRows][kPanel];
};

// A panel's weights, read a step (32 or 64 inputs) at a time.
struct Int8Steps {
  static constexpr int kInputBytes = kPanel;  // packed, of an input
  static constexpr int kOffset = kCodeOffset;

  template <int kTile>
  static void load(const std::uint8_t* codes, int inputs, Stage&, bool is_first) {
    load_weights<kTile>(codes, inputs * kInputBytes, is_first);
  }
};
struct Int4Steps {
  static constexpr int kInputBytes = kPanel / 2;
  static constexpr int kOffset = kInt4Offset;

  template <int kTile>
  static void load(const std::uint8_t* codes, int inputs, Stage& stage, bool is_first) {
    constexpr int kHalf = kInt4Block / 8;  // lines of an unpacked block's low halves
    for (int input = 0; input < inputs; input += kInt4Block) {
      std::uint8_t(*const lines)[kTileBytes] = stage.row + input / 4;
      for (int j = 0; j < kHalf; ++j) {
        if (is_first) prefetch(codes, kPrefetchBytes);
        const Nibbles nibbles = load_nibbles(codes);
        std::memcpy(lines[j], &nibbles.low, kTileBytes);
        std::memcpy(lines[kHalf + j], &nibbles.high, kTileBytes);
        codes += kTileBytes;
      }
    }
    load_tile<kTile>(&stage, kTileBytes);
  }
};

template <typename Steps>
struct BlockProduct {
  const Matrix& matrix;
  const BlockRows& x;
  const Output& output;
  int step;  // inputs of a step

  template <int kTiles, int kPanels>
  void operator()(const TilePlace& place) const {
    BlockTotals totals{};
    TileSums sums;
    for (int block = 0; block < x.inputs / x.block; ++block) {
      sum_block<kTiles, kPanels>(place, block, sums);
      add_block<kTiles, kPanels>(place, block, sums, totals);
    }
    finish<kTiles, kPanels>(place, totals);
  }

 private:
  template <int kTiles, int kPanels>
  void sum_block(const TilePlace& place, int block, TileSums& sums) const {
    Stage stages[2];
    const std::ptrdiff_t panel_bytes = std::ptrdiff_t{x.inputs} * Steps::kInputBytes;
    const std::uint8_t* const codes =
        static_cast<const std::uint8_t*>(matrix.codes) + place.panel * panel_bytes;
    zero_sums<kTiles, kPanels>();
    for (int k = block * x.block; k < (block + 1) * x.block; k += step) {
      const std::uint8_t* const weights = codes + std::ptrdiff_t{k} * Steps::kInputBytes;
      load_tile<4>(inputs_of(place, 0) + k, x.inputs);
      if constexpr (kTiles > 1) load_tile<5>(inputs_of(place, 1) + k, x.inputs);
      Steps::template load<6>(weights, step, stages[0], place.is_first);
      if constexpr (kPanels > 1) {
        Steps::template load<7>(weights + panel_bytes, step, stages[1], place.is_first);
      }
      add_products<ByteProducts, kTiles, kPanels>();
    }
    store_sums<kTiles, kPanels>(sums);
  }

  const std::int8_t* inputs_of(const TilePlace& place, int tile) const {
    return x.codes + std::ptrdiff_t{place.rows.begin(place.tile + tile)} * x.inputs;
  }

  f32x16 scale_of(int panel, int block) const {
    const std::uint16_t* const scales =
        matrix.scales + std::ptrdiff_t{panel} * matrix.scale_blocks * kPanel;
    return load_half(scales + std::ptrdiff_t{block} * kPanel);
  }

  // As BlockTile does it, in the same order.
  template <int kTiles, int kPanels>
  void add_block(const TilePlace& place, int block, const TileSums& sums,
                 BlockTotals& totals) const {
    const int blocks = x.inputs / x.block;
    for (int p = 0; p < kPanels; ++p) {
      const f32x16 scale =
          matrix.scale_blocks > 1 ? scale_of(place.panel + p, block) : splat(1.0f);
      for (int t = 0; t < kTiles; ++t) {
        const int begin = place.rows.begin(place.tile + t);
        for (int r = place.rows.first_new(place.tile + t); r < place.rows.height; ++r) {
          const std::ptrdiff_t at = std::ptrdiff_t{begin + r} * blocks + block;
          const i32x16 sum =
              load_pairs(sums.at(t, p, r)) + without_offset(Steps::kOffset, x.sums[at]);
          float* const total = totals.of[t][p][r];
          store(total, fma(to_float(sum), splat(x.scales[at]) * scale, load(total)));
        }
      }
    }
  }

  template <int kTiles, int kPanels>
  void finish(const TilePlace& place, const BlockTotals& totals) const {
    for (int p = 0; p < kPanels; ++p) {
      const int panel = place.panel + p;
      const f32x16 scale = matrix.scale_blocks > 1 ? splat(1.0f) : scale_of(panel, 0);
      for (int t = 0; t < kTiles; ++t) {
        const int begin = place.rows.begin(place.tile + t);
        for (int r = place.rows.first_new(place.tile + t); r < place.rows.height; ++r) {
          const f32x16 total = load(totals.of[t][p][r]) * scale;
          store_product(matrix, output, begin + r, panel, with_bias(matrix, panel, total));
        }
      }
    }
  }
};

inline void multiply_blocks_in_tiles(const Matrix& matrix, const BlockRows& x,
                                     const Output& output, Part part) {
  if (part.rows < kLeastTileRows || x.block % kInt4Block != 0) {
    return multiply_blocks(matrix, x, output, part);
  }
  const int step = x.block % kTileBytes == 0 ? kTileBytes : kInt4Block;
  if (matrix.format == Format::int8) {
    run_places(part.rows, step, part, BlockProduct<Int8Steps>{matrix, x, output, step});
  } else {
    run_places(part.rows, step, part, BlockProduct<Int4Steps>{matrix, x, output, step});
  }
}

}  // namespace
}  // namespace slm
