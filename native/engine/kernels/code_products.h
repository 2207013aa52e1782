// Products of integer codes: int8 and int4 weights, int8 inputs. Sums of codes are exact.
//
// In: a packed matrix, and rows of codes with a scale for each block (the language model), or with
// one for all (convolutions). Out: y (+)= the product, scaled. Included after a simd_*.h.
#pragma once

#include <cstring>

#include "kernels/row_pairs.h"
#include "kernels/tiles.h"

namespace slm {
namespace {

inline constexpr int kInt4Offset = 8;  // int4 codes lie as code + 8

// The codes of four neighbouring inputs, as they lie.
inline std::int32_t four_at(const std::int8_t* p) {
  std::int32_t four;
  std::memcpy(&four, p, sizeof four);
  return four;
}

// -offset · sum, as the start of a sum of products; wraps as the lanes do.
inline i32x16 without_offset(int offset, std::int32_t sum_of_inputs) {
  return splat(static_cast<std::int32_t>(0u - static_cast<std::uint32_t>(offset) *
                                                   static_cast<std::uint32_t>(sum_of_inputs)));
}

// Exact sums of a tile's products.
template <int kRows, int kPanels>
struct DotSums {
  i32x16 of[kRows][kPanels];

  void start(int row, i32x16 sum) {
    SLM_UNROLL for (i32x16& one : of[row]) one = sum;
  }
  i32x16 value(int row, int panel) const { return of[row][panel]; }
};
#if defined(SLM_HAS_MATRIX_PRODUCTS)
template <int kRows, int kPanels>
using CodeSums = std::conditional_t<kRows == 1, DotSums<1, kPanels>, CodePairSums<kRows, kPanels>>;
#else
template <int kRows, int kPanels>
using CodeSums = DotSums<kRows, kPanels>;
#endif

// How a format's codes are read, and how their products are added. kInputs: of one step.
struct Int8Codes {
  static constexpr int kInputs = 16;
  static constexpr int kOffset = kCodeOffset;
  static constexpr int kPanelBytes = kInputs * kPanel;  // of a step

  template <int kRows, int kPanels>
  static void add(DotSums<kRows, kPanels>& total, const std::uint8_t* (&codes)[kPanels],
                  const std::int8_t* x, std::ptrdiff_t stride, const Ahead& ahead) {
    SLM_UNROLL for (int k = 0; k < kInputs; k += 4) {
      Codes loaded[kPanels];
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
        loaded[p] = load_codes(codes[p]);
        prefetch(codes[p], ahead.of[k / 4]);
        codes[p] += 64;
      }
      SLM_UNROLL for (int r = 0; r < kRows; ++r) {
        const std::int32_t four = four_at(x + r * stride + k);
        SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
          total.of[r][p] = dot4(total.of[r][p], loaded[p], four);
        }
      }
    }
  }

#if defined(SLM_HAS_MATRIX_PRODUCTS)
  template <int kRows, int kPanels>
  [[gnu::always_inline]] static void add(CodePairSums<kRows, kPanels>& total,
                                         const std::uint8_t* (&codes)[kPanels],
                                         const std::int8_t* x, std::ptrdiff_t stride,
                                         const Ahead& ahead) {
    SLM_UNROLL for (int k = 0; k < kInputs; k += 8) {
      const RowPairs<kRows> rows(x + k, stride);
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
        const Codes first = load_codes(codes[p]), second = load_codes(codes[p] + 64);
        total.add(p, first.v, second.v, rows);
        prefetch(codes[p], ahead.of[k / 4]);
        prefetch(codes[p] + 64, ahead.of[k / 4 + 1]);
        codes[p] += 128;
      }
    }
  }
#endif
};

struct Int4Codes {
  static constexpr int kInputs = kInt4Block;
  static constexpr int kOffset = kInt4Offset;
  static constexpr int kPanelBytes = kInputs * kPanel / 2;

  template <int kRows, int kPanels>
  static void add(DotSums<kRows, kPanels>& total, const std::uint8_t* (&codes)[kPanels],
                  const std::int8_t* x, std::ptrdiff_t stride, const Ahead& ahead) {
    NibbleSum products[kRows][kPanels];
    SLM_UNROLL for (int r = 0; r < kRows; ++r) {
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) products[r][p] = nibble_sum(total.of[r][p]);
    }
    SLM_UNROLL for (int j = 0; j < 4; ++j) {
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
        const Nibbles nibbles = load_nibbles(codes[p]);
        prefetch(codes[p], ahead.of[j]);
        codes[p] += 64;
        SLM_UNROLL for (int r = 0; r < kRows; ++r) {
          const std::int8_t* const four = x + r * stride + 4 * j;
          products[r][p].add(nibbles, four_at(four), four_at(four + 16));
        }
      }
    }
    SLM_UNROLL for (int r = 0; r < kRows; ++r) {
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) total.of[r][p] = products[r][p].value();
    }
  }

#if defined(SLM_HAS_MATRIX_PRODUCTS)
  template <int kRows, int kPanels>
  [[gnu::always_inline]] static void add(CodePairSums<kRows, kPanels>& total,
                                         const std::uint8_t* (&codes)[kPanels],
                                         const std::int8_t* x, std::ptrdiff_t stride,
                                         const Ahead& ahead) {
    SLM_UNROLL for (int j = 0; j < 4; j += 2) {
      const RowPairs<kRows> low(x + 4 * j, stride), high(x + 16 + 4 * j, stride);
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
        const Nibbles first = load_nibbles(codes[p]), second = load_nibbles(codes[p] + 64);
        total.add(p, first.low.v, second.low.v, low);
        total.add(p, first.high.v, second.high.v, high);
        prefetch(codes[p], ahead.of[j]);
        prefetch(codes[p] + 64, ahead.of[j + 1]);
        codes[p] += 128;
      }
    }
  }
#endif
};

template <typename Format, int kRows, int kPanels>
struct BlockTile {
  static void run(const Matrix& matrix, const BlockRows& x, const Output& output, Place place) {
    const int blocks = x.inputs / x.block;
    const std::size_t panel_bytes =
        static_cast<std::size_t>(x.inputs) / Format::kInputs * Format::kPanelBytes;
    f32x16 total[kRows][kPanels];
    Streams streams{{}, {}, Ahead(place, kPanels * panel_bytes)};
    SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
      const std::size_t panel = static_cast<std::size_t>(place.panel_at(p));
      streams.codes[p] = static_cast<const std::uint8_t*>(matrix.codes) + panel * panel_bytes;
      streams.scales[p] = matrix.scales + panel * matrix.scale_blocks * kPanel;
      SLM_UNROLL for (int r = 0; r < kRows; ++r) total[r][p] = splat(0.0f);
    }
    for (int block = 0; block < blocks; ++block) {
      add_block(total, streams, matrix, x, place.row, block);
    }
    finish(matrix, output, place, streams, total);
  }

 private:
  // How far the panels have been read.
  struct Streams {
    const std::uint8_t* codes[kPanels];
    const std::uint16_t* scales[kPanels];
    Ahead ahead;
  };

  static void add_block(f32x16 (&total)[kRows][kPanels], Streams& streams, const Matrix& matrix,
                        const BlockRows& x, int row, int block) {
    const int blocks = x.inputs / x.block;
    CodeSums<kRows, kPanels> products;
    SLM_UNROLL for (int r = 0; r < kRows; ++r) {
      const std::int32_t sum = x.sums[std::ptrdiff_t{row + r} * blocks + block];
      products.start(r, without_offset(Format::kOffset, sum));
    }
    const std::int8_t* const start =
        x.codes + std::ptrdiff_t{row} * x.inputs + std::ptrdiff_t{block} * x.block;
    for (int k = 0; k < x.block; k += Format::kInputs) {
      Format::add(products, streams.codes, start + k, x.inputs, streams.ahead);
    }
    SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
      f32x16 scale = splat(1.0f);  // one scale for all blocks: at the end
      if (matrix.scale_blocks > 1) {
        scale = load_half(streams.scales[p]);
        streams.scales[p] += kPanel;
      }
      SLM_UNROLL for (int r = 0; r < kRows; ++r) {
        const f32x16 of_row = splat(x.scales[std::ptrdiff_t{row + r} * blocks + block]);
        total[r][p] = fma(to_float(products.value(r, p)), of_row * scale, total[r][p]);
      }
    }
  }

  static void finish(const Matrix& matrix, const Output& output, Place place,
                     const Streams& streams, const f32x16 (&total)[kRows][kPanels]) {
    SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
      if (p >= place.panels) continue;
      const int panel = place.panel + p;
      const f32x16 scale = matrix.scale_blocks > 1 ? splat(1.0f) : load_half(streams.scales[p]);
      SLM_UNROLL for (int r = 0; r < kRows; ++r) {
        store_product(matrix, output, place.row + r, panel,
                      with_bias(matrix, panel, total[r][p] * scale));
      }
    }
  }
};

// Of all codes that a row reads.
inline std::int32_t sum_of_taps(const ScaledRows& x, int row) {
  std::uint32_t sum = 0;
  for (int tap = 0; tap < x.rows.taps; ++tap) {
    sum += static_cast<std::uint32_t>(x.sums[row * x.row_sum_stride + tap * x.tap_sum_stride]);
  }
  return static_cast<std::int32_t>(sum);
}

template <int kRows, int kPanels>
struct ScaledTile {
  static void run(const Matrix& matrix, const ScaledRows& x, const Output& output, Place place) {
    CodeSums<kRows, kPanels> total;
    const std::uint8_t* codes[kPanels];
    const std::size_t panel_bytes = std::size_t{16} * matrix.inputs;
    SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
      codes[p] = static_cast<const std::uint8_t*>(matrix.codes) + place.panel_at(p) * panel_bytes;
    }
    SLM_UNROLL for (int r = 0; r < kRows; ++r) {
      total.start(r, without_offset(kCodeOffset, sum_of_taps(x, place.row + r)));
    }
    const Ahead ahead(place, kPanels * panel_bytes);
    const std::int8_t* const rows = x.rows.data + place.row * x.rows.row_stride;
    for (int tap = 0; tap < x.rows.taps; ++tap) {
      const std::int8_t* const start = rows + tap * x.rows.tap_stride;
      for (int c = 0; c < x.rows.channels; c += Int8Codes::kInputs) {
        Int8Codes::add(total, codes, start + c, x.rows.row_stride, ahead);
      }
    }
    finish(matrix, x.scale, output, place, total);
  }

 private:
  static void finish(const Matrix& matrix, float input_scale, const Output& output, Place place,
                     const CodeSums<kRows, kPanels>& total) {
    SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
      if (p >= place.panels) continue;
      const int panel = place.panel + p;
      const f32x16 scale =
          splat(input_scale) * load_half(matrix.scales + std::ptrdiff_t{panel} * kPanel);
      const f32x16 bias = matrix.bias ? load(matrix.bias + panel * kPanel) : splat(0.0f);
      SLM_UNROLL for (int r = 0; r < kRows; ++r) {
        store_product(matrix, output, place.row + r, panel,
                      fma(to_float(total.value(r, p)), scale, bias));
      }
    }
  }
};

template <int kRows, int kPanels>
struct Int8BlockTile : BlockTile<Int8Codes, kRows, kPanels> {};
template <int kRows, int kPanels>
struct Int4BlockTile : BlockTile<Int4Codes, kRows, kPanels> {};

inline void multiply_blocks(const Matrix& matrix, const BlockRows& x, const Output& output,
                            Part part) {
  if (matrix.format == Format::int8) {
    run_tiles<Int8BlockTile, kInt8Rows, kCodePanels, kInt8Rows, kCodePanelsAlone>(matrix, x,
                                                                                  output, part);
  } else {
    run_tiles<Int4BlockTile, kInt4Rows, kCodePanels, kInt4Rows, kCodePanelsAlone>(matrix, x,
                                                                                  output, part);
  }
}

inline void multiply_scaled(const Matrix& matrix, const ScaledRows& x, const Output& output,
                            Part part) {
  run_tiles<ScaledTile, kInt8Rows, kCodePanels, 1, kCodePanelsAlone>(matrix, x, output, part);
}

}  // namespace
}  // namespace slm
