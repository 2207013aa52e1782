// Rows of floats in 8 and 16 bits.
//
// In: rows of floats. Out: codes, with their scales and sums, or bfloat16. Included after a
// simd_*.h.
#pragma once

#include "kernels/kernels.h"

namespace slm {
namespace {

inline constexpr float kLargestCode = 127.0f;  // -128 is not used: kernels may negate a code

// 16 values of a row, of which `count` are there, times their smoothing.
inline f32x16 smoothed(const float* x, const float* smoothing, int count) {
  const f32x16 value = count >= kPanel ? load(x) : load(x, count > 0 ? count : 0);
  return smoothing == nullptr ? value : value * load(smoothing);
}

inline f32x16 bounded(f32x16 codes) {
  return max(min(codes, splat(kLargestCode)), splat(-kLargestCode));
}

struct BlockScale {
  float scale;
  std::int32_t sum;
};

// One block of `block` values, of which `valid` are there.
inline BlockScale quantize_block(const float* x, int valid, const float* smoothing, int block,
                                 std::int8_t* codes) {
  f32x16 most = splat(0.0f);
  for (int i = 0; i < block; i += kPanel) {
    most = max(most, abs(smoothed(x + i, smoothing ? smoothing + i : nullptr, valid - i)));
  }
  const float magnitude = largest(most);
  const f32x16 factor = splat(magnitude > 0.0f ? kLargestCode / magnitude : 0.0f);
  i32x16 sums = splat(0);
  for (int i = 0; i < block; i += kPanel) {
    const f32x16 value = smoothed(x + i, smoothing ? smoothing + i : nullptr, valid - i);
    const i32x16 code = to_int(bounded(round(value * factor)));
    store_bytes(codes + i, code);
    sums = sums + code;
  }
  return {magnitude / kLargestCode, sum(sums)};
}

inline void quantize_blocks(const float* x, std::ptrdiff_t stride, int rows, int valid,
                            const float* smoothing, const BlockRows& out) {
  const int blocks = out.inputs / out.block;
  for (int row = 0; row < rows; ++row) {
    for (int block = 0; block < blocks; ++block) {
      const int begin = block * out.block;
      const std::ptrdiff_t at = std::ptrdiff_t{row} * blocks + block;
      const BlockScale found = quantize_block(
          x + row * stride + begin, valid - begin, smoothing ? smoothing + begin : nullptr,
          out.block, out.codes + std::ptrdiff_t{row} * out.inputs + begin);
      out.scales[at] = found.scale;
      out.sums[at] = found.sum;
    }
  }
}

inline void quantize_scaled(const float* x, std::ptrdiff_t stride, int rows, int channels,
                            float scale, std::int8_t* codes, std::int32_t* sums) {
  const f32x16 divisor = splat(scale);
  for (int row = 0; row < rows; ++row) {
    i32x16 total = splat(0);
    for (int c = 0; c < channels; c += kPanel) {
      const i32x16 code = to_int(bounded(round(load(x + row * stride + c) / divisor)));
      store_bytes(codes + std::ptrdiff_t{row} * channels + c, code);
      total = total + code;
    }
    sums[row] = sum(total);
  }
}

inline void to_half(const float* x, std::uint16_t* y, std::size_t count) {
  std::size_t i = 0;
  for (; i + kPanel <= count; i += kPanel) store_bfloat(y + i, load(x + i));
  for (; i < count; ++i) y[i] = bfloat_from_float(x[i]);
}

}  // namespace
}  // namespace slm
