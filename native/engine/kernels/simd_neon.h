// Vectors of 16 lanes as four quarters in NEON; simd_portable.h says what each does.
//
// SLM_HAS_BYTE_PRODUCTS: the compiler may use sdot; SLM_HAS_HALF_PRODUCTS: and bfdot;
// SLM_HAS_MATRIX_PRODUCTS: and usdot, usmmla and bfmmla (products of several rows: row_pairs.h).
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace slm {
namespace {

inline constexpr int kFp32Rows = 6, kBf16Rows = 5;
#if defined(SLM_HAS_MATRIX_PRODUCTS)
inline constexpr int kHalfRows = 6;
#else
inline constexpr int kHalfRows = 5;
#endif
inline constexpr int kFloatPanels = 1, kFloatPanelsAlone = 2;
inline constexpr int kAttentionHeads = 5, kAttentionSums = 5;
inline constexpr int kPrefetchBytes = 1024;

struct f32x16 {
  float32x4_t v[4];
};
struct i32x16 {
  int32x4_t v[4];
};

// The vector whose quarters are operation(0) … operation(3).
template <typename Vector, typename Operation>
inline Vector quarters(Operation operation) {
  return {{operation(0), operation(1), operation(2), operation(3)}};
}

inline f32x16 splat(float x) {
  return quarters<f32x16>([&](int) { return vdupq_n_f32(x); });
}
inline i32x16 splat(std::int32_t x) {
  return quarters<i32x16>([&](int) { return vdupq_n_s32(x); });
}
inline f32x16 load(const float* p) {
  return quarters<f32x16>([&](int i) { return vld1q_f32(p + 4 * i); });
}
inline f32x16 load(const float* p, int count) {
  float some[16] = {};
  for (int i = 0; i < count; ++i) some[i] = p[i];
  return load(some);
}
inline void store(float* p, f32x16 x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
}
inline void store(float* p, f32x16 x, int count) {
  float all[16];
  store(all, x);
  std::memcpy(p, all, sizeof(float) * static_cast<std::size_t>(count));
}
inline f32x16 first(f32x16 x, int count) {
  float all[16];
  store(all, x);
  return load(all, count);
}

inline f32x16 operator+(f32x16 x, f32x16 y) {
  return quarters<f32x16>([&](int i) { return vaddq_f32(x.v[i], y.v[i]); });
}
inline f32x16 operator-(f32x16 x, f32x16 y) {
  return quarters<f32x16>([&](int i) { return vsubq_f32(x.v[i], y.v[i]); });
}
inline f32x16 operator*(f32x16 x, f32x16 y) {
  return quarters<f32x16>([&](int i) { return vmulq_f32(x.v[i], y.v[i]); });
}
inline f32x16 operator/(f32x16 x, f32x16 y) {
  return quarters<f32x16>([&](int i) { return vdivq_f32(x.v[i], y.v[i]); });
}
inline f32x16 fma(f32x16 x, f32x16 y, f32x16 z) {
  return quarters<f32x16>([&](int i) { return vfmaq_f32(z.v[i], x.v[i], y.v[i]); });
}
inline f32x16 min(f32x16 x, f32x16 y) {
  return quarters<f32x16>([&](int i) { return vminq_f32(x.v[i], y.v[i]); });
}
inline f32x16 max(f32x16 x, f32x16 y) {
  return quarters<f32x16>([&](int i) { return vmaxq_f32(x.v[i], y.v[i]); });
}
inline f32x16 abs(f32x16 x) {
  return quarters<f32x16>([&](int i) { return vabsq_f32(x.v[i]); });
}
inline f32x16 round(f32x16 x) {
  return quarters<f32x16>([&](int i) { return vrndnq_f32(x.v[i]); });
}
inline float sum(f32x16 x) {
  const float32x4_t four =
      vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float largest(f32x16 x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[2]), vmaxq_f32(x.v[1], x.v[3])));
}

inline i32x16 operator+(i32x16 x, i32x16 y) {
  return quarters<i32x16>([&](int i) { return vaddq_s32(x.v[i], y.v[i]); });
}
inline std::int32_t sum(i32x16 x) {
  return vaddvq_s32(vaddq_s32(vaddq_s32(x.v[0], x.v[2]), vaddq_s32(x.v[1], x.v[3])));
}
inline i32x16 to_int(f32x16 x) {
  return quarters<i32x16>([&](int i) { return vcvtnq_s32_f32(x.v[i]); });
}
inline f32x16 to_float(i32x16 x) {
  return quarters<f32x16>([&](int i) { return vcvtq_f32_s32(x.v[i]); });
}
inline f32x16 power_of_two(i32x16 n) {
  return quarters<f32x16>([&](int i) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n.v[i], vdupq_n_s32(127)), 23));
  });
}
inline f32x16 zero_below(f32x16 x, f32x16 bound, f32x16 y) {
  return quarters<f32x16>([&](int i) {
    return vreinterpretq_f32_u32(
        vbicq_u32(vreinterpretq_u32_f32(y.v[i]), vcltq_f32(x.v[i], bound.v[i])));
  });
}

inline f32x16 load_half(const std::uint16_t* p) {
  return quarters<f32x16>([&](int i) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
  });
}
inline f32x16 load_half(const std::uint16_t* p, int count) {
  std::uint16_t some[16] = {};
  for (int i = 0; i < count; ++i) some[i] = p[i];
  return load_half(some);
}
inline void store_half(std::uint16_t* p, f32x16 x, int count) {
  std::uint16_t all[16];
  for (int i = 0; i < 4; ++i) {
    vst1_u16(all + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
  }
  std::memcpy(p, all, 2 * static_cast<std::size_t>(count));
}
inline void store_bfloat(std::uint16_t* p, f32x16 x) {
  for (int i = 0; i < 4; ++i) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x.v[i]);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t nan = vorrq_u32(bits, vdupq_n_u32(0x400000));
    const uint32x4_t high = vbslq_u32(vceqq_f32(x.v[i], x.v[i]), up, nan);
    vst1_u16(p + 4 * i, vshrn_n_u32(high, 16));
  }
}
inline void store_bytes(std::int8_t* p, i32x16 x) {
  const int16x8_t low = vcombine_s16(vqmovn_s32(x.v[0]), vqmovn_s32(x.v[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(x.v[2]), vqmovn_s32(x.v[3]));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}

inline i32x16 load_pairs(const void* p) {
  return quarters<i32x16>([&](int i) {
    return vreinterpretq_s32_s8(vld1q_s8(static_cast<const std::int8_t*>(p) + 16 * i));
  });
}
inline f32x16 first_of_pairs(i32x16 pairs) {
  return quarters<f32x16>(
      [&](int i) { return vreinterpretq_f32_s32(vshlq_n_s32(pairs.v[i], 16)); });
}
inline f32x16 second_of_pairs(i32x16 pairs) {
  const int32x4_t high = vdupq_n_s32(static_cast<std::int32_t>(0xffff0000u));
  return quarters<f32x16>(
      [&](int i) { return vreinterpretq_f32_s32(vandq_s32(pairs.v[i], high)); });
}
inline f32x16 dot_half(f32x16 total, i32x16 pairs, std::int32_t x) {
#if defined(SLM_HAS_HALF_PRODUCTS)
  const bfloat16x8_t both = vreinterpretq_bf16_s32(vdupq_n_s32(x));
  return quarters<f32x16>([&](int i) {
    return vbfdotq_f32(total.v[i], vreinterpretq_bf16_s32(pairs.v[i]), both);
  });
#else
  const i32x16 both = splat(x);
  total = fma(first_of_pairs(both), first_of_pairs(pairs), total);
  return fma(second_of_pairs(both), second_of_pairs(pairs), total);
#endif
}

inline int8x16_t four_times(std::int32_t x) { return vreinterpretq_s8_s32(vdupq_n_s32(x)); }

#if defined(SLM_HAS_MATRIX_PRODUCTS)

inline constexpr int kCodeOffset = 128;
using Code16 = uint8x16_t;
inline Code16 code16(uint8x16_t codes) { return codes; }

#else

inline constexpr int kCodeOffset = 0;  // codes are made signed when they are loaded
using Code16 = int8x16_t;
inline Code16 code16(uint8x16_t codes) { return vreinterpretq_s8_u8(codes); }

#endif

struct Codes {
  Code16 v[4];
};
inline Codes load_codes(const std::uint8_t* p) {
  return quarters<Codes>([&](int i) {
    const uint8x16_t codes = vld1q_u8(p + 16 * i);
    return code16(kCodeOffset == 0 ? veorq_u8(codes, vdupq_n_u8(128)) : codes);
  });
}
struct Nibbles {
  Codes low, high;
};
inline Nibbles load_nibbles(const std::uint8_t* p) {
  return {quarters<Codes>([&](int i) {
            return code16(vandq_u8(vld1q_u8(p + 16 * i), vdupq_n_u8(15)));
          }),
          quarters<Codes>([&](int i) { return code16(vshrq_n_u8(vld1q_u8(p + 16 * i), 4)); })};
}

#if defined(SLM_HAS_BYTE_PRODUCTS)

inline constexpr int kInt4Rows = 4, kCodePanels = 1, kCodePanelsAlone = 1;
#if defined(SLM_HAS_MATRIX_PRODUCTS)
inline constexpr int kInt8Rows = 6;
inline int32x4_t dot4(int32x4_t total, uint8x16_t codes, int8x16_t x) {
  return vusdotq_s32(total, codes, x);
}
#else
inline constexpr int kInt8Rows = 5;
inline int32x4_t dot4(int32x4_t total, int8x16_t codes, int8x16_t x) {
  return vdotq_s32(total, codes, x);
}
#endif

inline i32x16 dot4(i32x16 total, const Codes& codes, std::int32_t x) {
  const int8x16_t four = four_times(x);
  return quarters<i32x16>([&](int i) { return dot4(total.v[i], codes.v[i], four); });
}
struct NibbleSum {
  i32x16 total;
  void add(const Nibbles& nibbles, std::int32_t low, std::int32_t high) {
    total = dot4(dot4(total, nibbles.low, low), nibbles.high, high);
  }
  i32x16 value() const { return total; }
};
inline NibbleSum nibble_sum(i32x16 start) { return {start}; }

#else

inline constexpr int kInt8Rows = 4, kInt4Rows = 2, kCodePanels = 1, kCodePanelsAlone = 1;

// Four outputs' sums of four products, which are 16-bit numbers side by side.
inline int32x4_t sum_of_four(int16x8_t low, int16x8_t high) {
  return vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}
inline i32x16 dot4(i32x16 total, const Codes& codes, std::int32_t x) {
  const int8x16_t four = four_times(x);
  return quarters<i32x16>([&](int i) {
    const int16x8_t low = vmull_s8(vget_low_s8(codes.v[i]), vget_low_s8(four));
    return vaddq_s32(total.v[i], sum_of_four(low, vmull_high_s8(codes.v[i], four)));
  });
}
// A block's eight products of a place are at most 8 · 15 · 127 = 15,240: 16 bits hold them.
struct NibbleSum {
  i32x16 start;
  int16x8_t low[4], high[4];
  void add(const Nibbles& nibbles, std::int32_t x_low, std::int32_t x_high) {
    const int8x16_t a = four_times(x_low), b = four_times(x_high);
    SLM_UNROLL for (int i = 0; i < 4; ++i) {
      low[i] = vmlal_s8(low[i], vget_low_s8(nibbles.low.v[i]), vget_low_s8(a));
      high[i] = vmlal_high_s8(high[i], nibbles.low.v[i], a);
      low[i] = vmlal_s8(low[i], vget_low_s8(nibbles.high.v[i]), vget_low_s8(b));
      high[i] = vmlal_high_s8(high[i], nibbles.high.v[i], b);
    }
  }
  i32x16 value() const {
    return start + quarters<i32x16>([&](int i) { return sum_of_four(low[i], high[i]); });
  }
};
inline NibbleSum nibble_sum(i32x16 start) {
  NibbleSum sum;
  sum.start = start;
  SLM_UNROLL for (int i = 0; i < 4; ++i) sum.low[i] = sum.high[i] = vdupq_n_s16(0);
  return sum;
}

#endif

}  // namespace
}  // namespace slm
