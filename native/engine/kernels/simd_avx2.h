// Vectors of 16 lanes as two halves in AVX2, FMA and F16C; simd_portable.h says what each does.
//
// vpmaddubsw adds two products in 16 bits, and saturates if one factor is a full byte. int8 codes
// are therefore split into magnitude and sign: |code| ≤ 128 and |x| ≤ 127 give at most 32,512.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace slm {
namespace {

inline constexpr int kFp32Rows = 6, kBf16Rows = 5, kHalfRows = 4;
inline constexpr int kFloatPanels = 1, kFloatPanelsAlone = 2;
inline constexpr int kInt8Rows = 4, kInt4Rows = 4, kCodePanels = 1, kCodePanelsAlone = 1;
inline constexpr int kAttentionHeads = 5, kAttentionSums = 5;
inline constexpr int kPrefetchBytes = 4096;

struct f32x16 {
  __m256 low, high;
};
struct i32x16 {
  __m256i low, high;
};

inline __m256i first_lanes(int count) {  // of eight: all bits set where lane < count
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline f32x16 splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline i32x16 splat(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline f32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline f32x16 load(const float* p, int count) {
  return {_mm256_maskload_ps(p, first_lanes(count)),
          _mm256_maskload_ps(p + 8, first_lanes(count - 8))};
}
inline void store(float* p, f32x16 x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
inline void store(float* p, f32x16 x, int count) {
  _mm256_maskstore_ps(p, first_lanes(count), x.low);
  _mm256_maskstore_ps(p + 8, first_lanes(count - 8), x.high);
}
inline f32x16 first(f32x16 x, int count) {
  return {_mm256_and_ps(x.low, _mm256_castsi256_ps(first_lanes(count))),
          _mm256_and_ps(x.high, _mm256_castsi256_ps(first_lanes(count - 8)))};
}

inline f32x16 operator+(f32x16 x, f32x16 y) {
  return {_mm256_add_ps(x.low, y.low), _mm256_add_ps(x.high, y.high)};
}
inline f32x16 operator-(f32x16 x, f32x16 y) {
  return {_mm256_sub_ps(x.low, y.low), _mm256_sub_ps(x.high, y.high)};
}
inline f32x16 operator*(f32x16 x, f32x16 y) {
  return {_mm256_mul_ps(x.low, y.low), _mm256_mul_ps(x.high, y.high)};
}
inline f32x16 operator/(f32x16 x, f32x16 y) {
  return {_mm256_div_ps(x.low, y.low), _mm256_div_ps(x.high, y.high)};
}
inline f32x16 fma(f32x16 x, f32x16 y, f32x16 z) {
  return {_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high)};
}
inline f32x16 min(f32x16 x, f32x16 y) {
  return {_mm256_min_ps(x.low, y.low), _mm256_min_ps(x.high, y.high)};
}
inline f32x16 max(f32x16 x, f32x16 y) {
  return {_mm256_max_ps(x.low, y.low), _mm256_max_ps(x.high, y.high)};
}
inline f32x16 abs(f32x16 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}
inline f32x16 round(f32x16 x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.low, kNearest), _mm256_round_ps(x.high, kNearest)};
}
inline float sum(f32x16 x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(f32x16 x) {
  const __m256 eight = _mm256_max_ps(x.low, x.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

inline i32x16 operator+(i32x16 x, i32x16 y) {
  return {_mm256_add_epi32(x.low, y.low), _mm256_add_epi32(x.high, y.high)};
}
inline std::int32_t sum(i32x16 x) {
  const __m256i eight = _mm256_add_epi32(x.low, x.high);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline i32x16 to_int(f32x16 x) { return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)}; }
inline f32x16 to_float(i32x16 x) {
  return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)};
}
inline __m256 power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
inline f32x16 power_of_two(i32x16 n) { return {power_of_two(n.low), power_of_two(n.high)}; }
inline f32x16 zero_below(f32x16 x, f32x16 bound, f32x16 y) {
  return {_mm256_and_ps(_mm256_cmp_ps(x.low, bound.low, _CMP_NLT_UQ), y.low),
          _mm256_and_ps(_mm256_cmp_ps(x.high, bound.high, _CMP_NLT_UQ), y.high)};
}

inline __m256 eight_halves(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline f32x16 load_half(const std::uint16_t* p) { return {eight_halves(p), eight_halves(p + 8)}; }
inline f32x16 load_half(const std::uint16_t* p, int count) {
  std::uint16_t some[16] = {};
  for (int i = 0; i < count; ++i) some[i] = p[i];
  return load_half(some);
}
inline void store_half(std::uint16_t* p, f32x16 x, int count) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  std::uint16_t all[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(all), _mm256_cvtps_ph(x.low, kNearest));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(all + 8), _mm256_cvtps_ph(x.high, kNearest));
  std::memcpy(p, all, 2 * static_cast<std::size_t>(count));
}
inline __m256i bfloats(__m256 x) {  // in the low half of each lane
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_srli_epi32(_mm256_blendv_epi8(up, nan, is_nan), 16);
}
inline void store_bfloat(std::uint16_t* p, f32x16 x) {
  const __m256i mixed = _mm256_packus_epi32(bfloats(x.low), bfloats(x.high));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(mixed, 0xd8));
}
inline void store_bytes(std::int8_t* p, i32x16 x) {
  const __m256i mixed = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.low, x.high), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(mixed),
                                   _mm256_extracti128_si256(mixed, 1)));
}

inline __m256i load_bytes(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
inline i32x16 load_pairs(const void* p) {
  return {load_bytes(p), load_bytes(static_cast<const char*>(p) + 32)};
}
inline f32x16 first_of_pairs(i32x16 pairs) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs.low, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(pairs.high, 16))};
}
inline f32x16 second_of_pairs(i32x16 pairs) {
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(pairs.low, high)),
          _mm256_castsi256_ps(_mm256_and_si256(pairs.high, high))};
}
inline f32x16 dot_half(f32x16 total, i32x16 pairs, std::int32_t x) {
  const i32x16 both = splat(x);
  total = fma(first_of_pairs(both), first_of_pairs(pairs), total);
  return fma(second_of_pairs(both), second_of_pairs(pairs), total);
}

#if defined(SLM_HAS_BYTE_PRODUCTS)

// AVX-VNNI: vpdpbusd in 256 bits.
inline constexpr int kCodeOffset = 128;
struct Codes {
  __m256i low, high;
};
inline Codes load_codes(const std::uint8_t* p) { return {load_bytes(p), load_bytes(p + 32)}; }
inline i32x16 dot4(i32x16 total, Codes codes, std::int32_t x) {
  const __m256i four = _mm256_set1_epi32(x);
  return {_mm256_dpbusd_avx_epi32(total.low, codes.low, four),
          _mm256_dpbusd_avx_epi32(total.high, codes.high, four)};
}
struct Nibbles {
  Codes low, high;
};
inline Nibbles load_nibbles(const std::uint8_t* p) {
  const Codes both = load_codes(p);
  const __m256i mask = _mm256_set1_epi8(15);
  return {{_mm256_and_si256(both.low, mask), _mm256_and_si256(both.high, mask)},
          {_mm256_and_si256(_mm256_srli_epi16(both.low, 4), mask),
           _mm256_and_si256(_mm256_srli_epi16(both.high, 4), mask)}};
}
struct NibbleSum {
  i32x16 total;
  void add(Nibbles nibbles, std::int32_t low, std::int32_t high) {
    total = dot4(dot4(total, nibbles.low, low), nibbles.high, high);
  }
  i32x16 value() const { return total; }
};
inline NibbleSum nibble_sum(i32x16 start) { return {start}; }

#else

inline constexpr int kCodeOffset = 0;  // codes are made signed when they are loaded
struct Codes {
  __m256i low, high;  // signed
  __m256i low_magnitude, high_magnitude;
};
inline Codes load_codes(const std::uint8_t* p) {
  const __m256i sign = _mm256_set1_epi8(-128);
  const __m256i low = _mm256_xor_si256(load_bytes(p), sign);
  const __m256i high = _mm256_xor_si256(load_bytes(p + 32), sign);
  return {low, high, _mm256_abs_epi8(low), _mm256_abs_epi8(high)};
}
// Sums of four products of bytes. magnitude: 0 … 128, x: -127 … 127 with the codes' signs.
inline __m256i sum_of_four(__m256i magnitude, __m256i x) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, x), _mm256_set1_epi16(1));
}
inline i32x16 dot4(i32x16 total, const Codes& codes, std::int32_t x) {
  const __m256i four = _mm256_set1_epi32(x);
  return {_mm256_add_epi32(total.low, sum_of_four(codes.low_magnitude,
                                                  _mm256_sign_epi8(four, codes.low))),
          _mm256_add_epi32(total.high, sum_of_four(codes.high_magnitude,
                                                   _mm256_sign_epi8(four, codes.high)))};
}

struct Nibbles {
  __m256i low[2], high[2];  // of the lower and the upper eight outputs
};
inline Nibbles load_nibbles(const std::uint8_t* p) {
  const __m256i a = load_bytes(p), b = load_bytes(p + 32), mask = _mm256_set1_epi8(15);
  return {{_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)},
          {_mm256_and_si256(_mm256_srli_epi16(a, 4), mask),
           _mm256_and_si256(_mm256_srli_epi16(b, 4), mask)}};
}
// A block's 16 products of half a lane are at most 16 · 15 · 127 = 30,480: 16 bits hold them.
struct NibbleSum {
  i32x16 start;
  __m256i low, high;  // sums of 16 bits
  void add(const Nibbles& nibbles, std::int32_t x_low, std::int32_t x_high) {
    const __m256i a = _mm256_set1_epi32(x_low), b = _mm256_set1_epi32(x_high);
    low = _mm256_add_epi16(low, _mm256_maddubs_epi16(nibbles.low[0], a));
    low = _mm256_add_epi16(low, _mm256_maddubs_epi16(nibbles.high[0], b));
    high = _mm256_add_epi16(high, _mm256_maddubs_epi16(nibbles.low[1], a));
    high = _mm256_add_epi16(high, _mm256_maddubs_epi16(nibbles.high[1], b));
  }
  i32x16 value() const {
    const __m256i ones = _mm256_set1_epi16(1);
    return start + i32x16{_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones)};
  }
};
inline NibbleSum nibble_sum(i32x16 start) {
  return {start, _mm256_setzero_si256(), _mm256_setzero_si256()};
}

#endif

}  // namespace
}  // namespace slm
