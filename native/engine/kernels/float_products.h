// Products with weights in fp32, bf16 and fp16 (docs/native-engine.md, "Order of sums").
//
// In: a packed matrix, rows of floats or of bfloat16. Out: y (+)= gain · x · Wᵀ + bias. Included
// after a simd_*.h.
#pragma once

#include <cstring>

#include "kernels/row_pairs.h"
#include "kernels/tiles.h"

namespace slm {
namespace {

// Two neighbouring bfloat16 values, as they lie.
inline std::int32_t pair_at(const std::uint16_t* p) {
  std::int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return pair;
}

// How a format's weights are read, and what one step of the sum is. kInputs: of one step.
struct FloatWeights {
  using Input = float;
  static constexpr int kInputs = 1;
  using Loaded = f32x16;
  static Loaded read(const char* p) { return load(reinterpret_cast<const float*>(p)); }
  using Spread = f32x16;
  static Spread spread(const float* x) { return splat(*x); }
  static f32x16 step(f32x16 total, Loaded weights, Spread x) { return fma(x, weights, total); }
};

struct HalfWeights {  // bfloat16, times float
  using Input = float;
  static constexpr int kInputs = 2;
  struct Loaded {
    f32x16 first, second;
  };
  static Loaded read(const char* p) {
    const i32x16 pairs = load_pairs(p);
    return {first_of_pairs(pairs), second_of_pairs(pairs)};
  }
  struct Spread {
    f32x16 first, second;
  };
  static Spread spread(const float* x) { return {splat(x[0]), splat(x[1])}; }
  static f32x16 step(f32x16 total, const Loaded& weights, const Spread& x) {
    return fma(x.second, weights.second, fma(x.first, weights.first, total));
  }
};

struct Float16Weights {  // float16, times float: two inputs one after the other, as in fp32
  using Input = float;
  static constexpr int kInputs = 2;
  using Loaded = HalfWeights::Loaded;
  static Loaded read(const char* p) {
    const auto* const halves = reinterpret_cast<const std::uint16_t*>(p);
    return {load_half(halves), load_half(halves + kPanel)};
  }
  using Spread = HalfWeights::Spread;
  static Spread spread(const float* x) { return HalfWeights::spread(x); }
  static f32x16 step(f32x16 total, const Loaded& weights, const Spread& x) {
    return HalfWeights::step(total, weights, x);
  }
};

struct HalfPairs {  // bfloat16, times bfloat16
  using Input = std::uint16_t;
  static constexpr int kInputs = 2;
  using Loaded = i32x16;
  static Loaded read(const char* p) { return load_pairs(p); }
  using Spread = std::int32_t;
  static Spread spread(const std::uint16_t* x) { return pair_at(x); }
  static f32x16 step(f32x16 total, Loaded weights, Spread x) { return dot_half(total, weights, x); }
};

template <typename Weights, int kRows, int kPanels>
struct FloatTile {
  using Input = Rows<typename Weights::Input>;

  static void run(const Matrix& matrix, const Input& x, const Output& output, Place place) {
    f32x16 total[kRows][kPanels];
    SLM_UNROLL for (auto& row : total) {
      SLM_UNROLL for (f32x16& one : row) one = splat(0.0f);
    }
    const char* weights[kPanels];
    const std::size_t panel_bytes =
        static_cast<std::size_t>(matrix.inputs) / Weights::kInputs * kStepBytes;
    SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
      weights[p] = static_cast<const char*>(matrix.codes) + place.panel_at(p) * panel_bytes;
    }
    const auto* const start = x.data + place.row * x.row_stride;
    for (int tap = 0; tap < x.taps; ++tap) {
      add_tap(total, weights, start + tap * x.tap_stride, x.row_stride, x.channels,
              place.ahead(tap, kPanels * panel_bytes));
    }
    finish(matrix, output, place, total);
  }

 private:
  static constexpr int kStepBytes = 64;

  static void add_tap(f32x16 (&total)[kRows][kPanels], const char* (&weights)[kPanels],
                      const typename Weights::Input* x, std::ptrdiff_t stride, int channels,
                      std::ptrdiff_t ahead) {
    for (int c = 0; c < channels; c += Weights::kInputs) {
      typename Weights::Loaded loaded[kPanels];
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
        loaded[p] = Weights::read(weights[p]);
        prefetch(weights[p], ahead);
        weights[p] += kStepBytes;
      }
      SLM_UNROLL for (int r = 0; r < kRows; ++r) {
        const auto value = Weights::spread(x + r * stride + c);
        SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
          total[r][p] = Weights::step(total[r][p], loaded[p], value);
        }
      }
    }
  }

  static void finish(const Matrix& matrix, const Output& output, Place place,
                     const f32x16 (&total)[kRows][kPanels]) {
    SLM_UNROLL for (int r = 0; r < kRows; ++r) {
      SLM_UNROLL for (int p = 0; p < kPanels; ++p) {
        if (p >= place.panels) continue;
        const int panel = place.panel + p;
        store_product(matrix, output, place.row + r, panel,
                      with_bias(matrix, panel, total[r][p]));
      }
    }
  }
};

template <int kRows, int kPanels>
struct Fp32Tile : FloatTile<FloatWeights, kRows, kPanels> {};
template <int kRows, int kPanels>
struct Bf16Tile : FloatTile<HalfWeights, kRows, kPanels> {};
template <int kRows, int kPanels>
struct Fp16Tile : FloatTile<Float16Weights, kRows, kPanels> {};
#if defined(SLM_HAS_MATRIX_PRODUCTS)
template <int kRows, int kPanels>
struct HalfPairTile : HalfMatrixTile<kRows, kPanels> {};
#else
template <int kRows, int kPanels>
struct HalfPairTile : FloatTile<HalfPairs, kRows, kPanels> {};
#endif

inline void multiply(const Matrix& matrix, const FloatRows& x, const Output& output, Part part) {
  if (matrix.format == Format::fp32) {
    run_tiles<Fp32Tile, kFp32Rows, kFloatPanels, 1, kFloatPanelsAlone>(matrix, x, output, part);
  } else if (matrix.format == Format::bf16) {
    run_tiles<Bf16Tile, kBf16Rows, kFloatPanels, 1, kFloatPanelsAlone>(matrix, x, output, part);
  } else {
    run_tiles<Fp16Tile, kBf16Rows, kFloatPanels, 1, kFloatPanelsAlone>(matrix, x, output, part);
  }
}

inline void multiply_half(const Matrix& matrix, const HalfRows& x, const Output& output,
                          Part part) {
  run_tiles<HalfPairTile, kHalfRows, kFloatPanels, 1, kFloatPanelsAlone>(matrix, x, output, part);
}

}  // namespace
}  // namespace slm
