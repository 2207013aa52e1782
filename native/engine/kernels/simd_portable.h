// Vectors of 16 lanes in plain C++: what every instruction set's header provides.
//
// Each lane is computed as IEEE 754 says, with one rounding for each operation, so that all headers
// give the same bits. A file that includes this header includes no other simd_*.h, and then the
// kernels. All names have internal linkage: the same ones mean other code in other files.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/half.h"

namespace slm {
namespace {

// How many rows and panels a product works on at once: as many sums as registers hold. kBf16Rows:
// weights in bfloat16 or float16, kHalfRows: inputs in bfloat16 as well; …Alone: panels for a single
// row, each a stream of weights from memory.
inline constexpr int kFp32Rows = 2, kBf16Rows = 2, kHalfRows = 2;
inline constexpr int kFloatPanels = 1, kFloatPanelsAlone = 1;
inline constexpr int kInt8Rows = 2, kInt4Rows = 2, kCodePanels = 1, kCodePanelsAlone = 1;
// Heads of an attention at once, and sums of all of them.
inline constexpr int kAttentionHeads = 2, kAttentionSums = 2;
// What a dot product has to subtract, times the sum of the inputs: int8 codes lie as code + 128.
inline constexpr int kCodeOffset = 128;
inline constexpr int kPrefetchBytes = 1024;

struct f32x16 {
  float lane[16];
};
struct i32x16 {
  std::int32_t lane[16];
};
struct Codes {  // 16 outputs, four inputs each
  std::uint8_t byte[64];
};

template <typename Operation>
f32x16 each(Operation operation) {
  f32x16 y;
  for (int i = 0; i < 16; ++i) y.lane[i] = operation(i);
  return y;
}
template <typename Operation>
i32x16 each_int(Operation operation) {
  i32x16 y;
  for (int i = 0; i < 16; ++i) y.lane[i] = static_cast<std::int32_t>(operation(i));
  return y;
}

inline f32x16 splat(float x) {
  return each([&](int) { return x; });
}
inline i32x16 splat(std::int32_t x) {
  return each_int([&](int) { return x; });
}
inline f32x16 load(const float* p) {
  return each([&](int i) { return p[i]; });
}
inline f32x16 load(const float* p, int count) {  // zeros behind `count`
  return each([&](int i) { return i < count ? p[i] : 0.0f; });
}
inline void store(float* p, f32x16 x) { std::memcpy(p, x.lane, sizeof x.lane); }
inline void store(float* p, f32x16 x, int count) {
  for (int i = 0; i < count; ++i) p[i] = x.lane[i];
}
inline f32x16 first(f32x16 x, int count) {  // zeros behind `count`
  return each([&](int i) { return i < count ? x.lane[i] : 0.0f; });
}

inline f32x16 operator+(f32x16 x, f32x16 y) {
  return each([&](int i) { return x.lane[i] + y.lane[i]; });
}
inline f32x16 operator-(f32x16 x, f32x16 y) {
  return each([&](int i) { return x.lane[i] - y.lane[i]; });
}
inline f32x16 operator*(f32x16 x, f32x16 y) {
  return each([&](int i) { return x.lane[i] * y.lane[i]; });
}
inline f32x16 operator/(f32x16 x, f32x16 y) {
  return each([&](int i) { return x.lane[i] / y.lane[i]; });
}
inline f32x16 fma(f32x16 x, f32x16 y, f32x16 z) {  // x · y + z, rounded once
  return each([&](int i) { return std::fma(x.lane[i], y.lane[i], z.lane[i]); });
}
inline f32x16 min(f32x16 x, f32x16 y) {
  return each([&](int i) { return x.lane[i] < y.lane[i] ? x.lane[i] : y.lane[i]; });
}
inline f32x16 max(f32x16 x, f32x16 y) {
  return each([&](int i) { return x.lane[i] > y.lane[i] ? x.lane[i] : y.lane[i]; });
}
inline f32x16 abs(f32x16 x) {
  return each([&](int i) { return std::fabs(x.lane[i]); });
}
inline f32x16 round(f32x16 x) {  // ties to even
  return each([&](int i) { return std::nearbyint(x.lane[i]); });
}
inline float sum(f32x16 x) {  // lanes i and i + 8, then + 4, + 2, + 1
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x.lane[i] += x.lane[i + half];
  }
  return x.lane[0];
}
inline float largest(f32x16 x) {
  float most = x.lane[0];
  for (int i = 1; i < 16; ++i) most = most > x.lane[i] ? most : x.lane[i];
  return most;
}

inline i32x16 operator+(i32x16 x, i32x16 y) {
  return each_int([&](int i) {
    return static_cast<std::uint32_t>(x.lane[i]) + static_cast<std::uint32_t>(y.lane[i]);
  });
}
inline std::int32_t sum(i32x16 x) {
  std::uint32_t total = 0;
  for (const std::int32_t lane : x.lane) total += static_cast<std::uint32_t>(lane);
  return static_cast<std::int32_t>(total);
}
// Of values within ±2^22, ties to even.
inline i32x16 to_int(f32x16 x) {
  return each_int([&](int i) {
    const float rounded = std::nearbyint(x.lane[i]);
    return std::fabs(rounded) <= 0x1p22f ? static_cast<std::int32_t>(rounded) : 0;
  });
}
inline f32x16 to_float(i32x16 x) {
  return each([&](int i) { return static_cast<float>(x.lane[i]); });
}
// 2^n for n from -126 to 127.
inline f32x16 power_of_two(i32x16 n) {
  return each([&](int i) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(n.lane[i] + 127) << 23);
  });
}
inline f32x16 zero_below(f32x16 x, f32x16 bound, f32x16 y) {  // y, or 0 where x < bound
  return each([&](int i) { return x.lane[i] < bound.lane[i] ? 0.0f : y.lane[i]; });
}

inline f32x16 load_half(const std::uint16_t* p) {
  return each([&](int i) { return float_from_half(p[i]); });
}
inline f32x16 load_half(const std::uint16_t* p, int count) {
  return each([&](int i) { return i < count ? float_from_half(p[i]) : 0.0f; });
}
inline void store_half(std::uint16_t* p, f32x16 x, int count) {
  for (int i = 0; i < count; ++i) p[i] = half_from_float(x.lane[i]);
}
inline void store_bfloat(std::uint16_t* p, f32x16 x) {
  for (int i = 0; i < 16; ++i) p[i] = bfloat_from_float(x.lane[i]);
}
inline void store_bytes(std::int8_t* p, i32x16 x) {  // values from -127 to 127
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::int8_t>(x.lane[i]);
}

// 16 outputs with two bfloat16 inputs each, and how they are multiplied.
inline i32x16 load_pairs(const void* p) {
  i32x16 pairs;
  std::memcpy(pairs.lane, p, sizeof pairs.lane);
  return pairs;
}
inline f32x16 first_of_pairs(i32x16 pairs) {
  return each([&](int i) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(pairs.lane[i]) << 16);
  });
}
inline f32x16 second_of_pairs(i32x16 pairs) {
  return each([&](int i) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(pairs.lane[i]) & 0xffff0000u);
  });
}
// x: two inputs, for all outputs.
inline f32x16 dot_half(f32x16 total, i32x16 pairs, std::int32_t x) {
  const i32x16 both = splat(x);
  total = fma(first_of_pairs(both), first_of_pairs(pairs), total);
  return fma(second_of_pairs(both), second_of_pairs(pairs), total);
}

inline Codes load_codes(const std::uint8_t* p) {
  Codes codes;
  std::memcpy(codes.byte, p, sizeof codes.byte);
  return codes;
}
// total + Σ code · x over four inputs; x: their codes, for all outputs. Exact.
inline i32x16 dot4(i32x16 total, const Codes& codes, std::int32_t x) {
  const auto inputs = std::bit_cast<std::uint32_t>(x);
  return each_int([&](int i) {
    std::int32_t product = 0;
    for (int k = 0; k < 4; ++k) {
      product += codes.byte[4 * i + k] * static_cast<std::int8_t>(inputs >> 8 * k & 0xff);
    }
    return static_cast<std::uint32_t>(total.lane[i]) + static_cast<std::uint32_t>(product);
  });
}

// 16 outputs with two times four int4 codes each, and a sum with the products of one packed block.
struct Nibbles {
  Codes low, high;
};
inline Nibbles load_nibbles(const std::uint8_t* p) {
  Nibbles nibbles;
  for (int i = 0; i < 64; ++i) {
    nibbles.low.byte[i] = p[i] & 15;
    nibbles.high.byte[i] = p[i] >> 4;
  }
  return nibbles;
}
struct NibbleSum {
  i32x16 total;
  void add(const Nibbles& nibbles, std::int32_t low, std::int32_t high) {
    total = dot4(dot4(total, nibbles.low, low), nibbles.high, high);
  }
  i32x16 value() const { return total; }
};
inline NibbleSum nibble_sum(i32x16 start) { return {start}; }

}  // namespace
}  // namespace slm
