// Products of two rows at once, by NEON's matrix instructions (usmmla, bfmmla): twice as many as by
// dot products.
//
// In: rows, and weights in groups of four bytes of inputs. Out: their sums, in blocks of 2 outputs x
// 2 rows. Nothing if the processor has no such instructions. Included after a simd_*.h.
#pragma once

#include <type_traits>

#include "kernels/tiles.h"

namespace slm {
namespace {

#if defined(SLM_HAS_MATRIX_PRODUCTS)

// Eight bytes of each of kRows rows, two rows in a vector. Of an odd number, the last one twice.
template <int kRows>
struct RowPairs {
  static constexpr int kCount = (kRows + 1) / 2;
  uint8x16_t of[kCount];

  // stride: in bytes.
  RowPairs(const void* rows, std::ptrdiff_t stride) {
    const auto* const bytes = static_cast<const std::uint8_t*>(rows);
    SLM_UNROLL for (int i = 0; i < kCount; ++i) {
      const int last = 2 * i + 1 < kRows ? 2 * i + 1 : 2 * i;
      of[i] = vcombine_u8(vld1_u8(bytes + 2 * i * stride), vld1_u8(bytes + last * stride));
    }
  }
};

// The sums of 16 outputs and two rows: block j has outputs 2 j and 2 j + 1, each for both rows.
inline int32x4_t add_products(int32x4_t sums, uint8x16_t weights, uint8x16_t rows) {
  return vusmmlaq_s32(sums, weights, vreinterpretq_s8_u8(rows));
}
inline float32x4_t add_products(float32x4_t sums, uint8x16_t weights, uint8x16_t rows) {
  return vbfmmlaq_f32(sums, vreinterpretq_bf16_u8(weights), vreinterpretq_bf16_u8(rows));
}
// What block j has of each output for the first, or the second row, side by side.
inline int32x4_t of_row(int32x4_t low, int32x4_t high, bool second) {
  return second ? vuzp2q_s32(low, high) : vuzp1q_s32(low, high);
}
inline float32x4_t of_row(float32x4_t low, float32x4_t high, bool second) {
  return second ? vuzp2q_f32(low, high) : vuzp1q_f32(low, high);
}

template <typename Block, typename Vector, int kRows, int kPanels>
struct PairSums {
  static constexpr int kBlocks = kPanel / 2;
  Block of[RowPairs<kRows>::kCount][kPanels][kBlocks];

  // The products of eight bytes of inputs: two groups of four, as the weights lie.
  void add(int panel, const uint8x16_t (&first)[4], const uint8x16_t (&second)[4],
           const RowPairs<kRows>& rows) {
    SLM_UNROLL for (int i = 0; i < 4; ++i) {
      const uint32x4_t a = vreinterpretq_u32_u8(first[i]), b = vreinterpretq_u32_u8(second[i]);
      const uint8x16_t low = vreinterpretq_u8_u32(vzip1q_u32(a, b));
      const uint8x16_t high = vreinterpretq_u8_u32(vzip2q_u32(a, b));
      SLM_UNROLL for (int pair = 0; pair < RowPairs<kRows>::kCount; ++pair) {
        Block(&sums)[kBlocks] = of[pair][panel];
        sums[2 * i] = add_products(sums[2 * i], low, rows.of[pair]);
        sums[2 * i + 1] = add_products(sums[2 * i + 1], high, rows.of[pair]);
      }
    }
  }

  Vector value(int row, int panel) const {
    const Block(&sums)[kBlocks] = of[row / 2][panel];
    return quarters<Vector>(
        [&](int i) { return of_row(sums[2 * i], sums[2 * i + 1], row % 2 == 1); });
  }
};

template <int kRows, int kPanels>
struct CodePairSums : PairSums<int32x4_t, i32x16, kRows, kPanels> {
  // All sums of a row begin with `sum`, which is the same in all lanes.
  void start(int row, i32x16 sum) {
    SLM_UNROLL for (auto& panel : this->of[row / 2]) {
      SLM_UNROLL for (int32x4_t& block : panel) {
        block = row % 2 == 0 ? sum.v[0] : vzip1q_s32(block, sum.v[0]);
      }
    }
  }
};

// bfloat16 weights and inputs. A row alone takes the same instructions: the same bits.
template <int kRows, int kPanels>
struct HalfMatrixTile {
  static void run(const Matrix& matrix, const HalfRows& x, const Output& output, Place place) {
    PairSums<float32x4_t, f32x16, kRows, kPanels> total;
    SLM_UNROLL for (auto& pair : total.of) {
      SLM_UNROLL for (auto& panel : pair) {
        SLM_UNROLL for (float32x4_t& block : panel) block = vdupq_n_f32(0.0f);
      }
    }
    const std::uint8_t* weights[kPanels];
    const std::size_t panel_bytes = static_cast<std::size_t>(matrix.inputs) / 2 * 64;
    SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
      weights[p] = static_cast<const std::uint8_t*>(matrix.codes) + place.panel_at(p) * panel_bytes;
    }
    const std::uint16_t* const start = x.data + place.row * x.row_stride;
    for (int tap = 0; tap < x.taps; ++tap) {
      const std::ptrdiff_t ahead = place.ahead(tap, kPanels * panel_bytes);
      for (int c = 0; c < x.channels; c += 4) {
        const RowPairs<kRows> rows(start + tap * x.tap_stride + c, 2 * x.row_stride);
        SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
          add_four(total, p, weights[p], rows, ahead);
          weights[p] += 128;
        }
      }
    }
    finish(matrix, output, place, total);
  }

 private:
  using Sums = PairSums<float32x4_t, f32x16, kRows, kPanels>;

  static void add_four(Sums& total, int panel, const std::uint8_t* weights,
                       const RowPairs<kRows>& rows, std::ptrdiff_t ahead) {
    uint8x16_t first[4], second[4];
    SLM_UNROLL for (int i = 0; i < 4; ++i) {
      first[i] = vld1q_u8(weights + 16 * i);
      second[i] = vld1q_u8(weights + 64 + 16 * i);
    }
    prefetch(weights, ahead);
    prefetch(weights + 64, ahead);
    total.add(panel, first, second, rows);
  }

  static void finish(const Matrix& matrix, const Output& output, Place place, const Sums& total) {
    SLM_UNROLL for (int r = 0; r < kRows; ++r) {
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
        if (p >= place.panels) continue;
        const int panel = place.panel + p;
        store_product(matrix, output, place.row + r, panel,
                      with_bias(matrix, panel, total.value(r, p)));
      }
    }
  }
};

#endif

}  // namespace
}  // namespace slm
