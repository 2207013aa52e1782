// Vectors of 16 lanes in AVX-512 (F, BW, DQ, VL, VNNI); simd_portable.h says what
// each does.
//
// bfloat16 products are those of AVX-512 BF16 if the including file has allowed it to the compiler
// (kHasHalfProducts), otherwise two multiply-adds in order.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace slm {
namespace {

inline constexpr int kFp32Rows = 12, kBf16Rows = 12, kHalfRows = 12;
inline constexpr int kFloatPanels = 2, kFloatPanelsAlone = 4;
inline constexpr int kInt8Rows = 8, kInt4Rows = 6, kCodePanels = 2, kCodePanelsAlone = 1;
inline constexpr int kAttentionHeads = 8, kAttentionSums = 16;
inline constexpr int kCodeOffset = 128;
inline constexpr int kPrefetchBytes = 4096;

struct f32x16 {
  __m512 v;
};
struct i32x16 {
  __m512i v;
};
struct Codes {
  __m512i v;
};

inline __mmask16 lanes_below(int count) { return static_cast<__mmask16>((1u << count) - 1); }

inline f32x16 splat(float x) { return {_mm512_set1_ps(x)}; }
inline i32x16 splat(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
inline f32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline f32x16 load(const float* p, int count) {
  return {_mm512_maskz_loadu_ps(lanes_below(count), p)};
}
inline void store(float* p, f32x16 x) { _mm512_storeu_ps(p, x.v); }
inline void store(float* p, f32x16 x, int count) {
  _mm512_mask_storeu_ps(p, lanes_below(count), x.v);
}
inline f32x16 first(f32x16 x, int count) {
  return {_mm512_maskz_mov_ps(lanes_below(count), x.v)};
}

inline f32x16 operator+(f32x16 x, f32x16 y) { return {_mm512_add_ps(x.v, y.v)}; }
inline f32x16 operator-(f32x16 x, f32x16 y) { return {_mm512_sub_ps(x.v, y.v)}; }
inline f32x16 operator*(f32x16 x, f32x16 y) { return {_mm512_mul_ps(x.v, y.v)}; }
inline f32x16 operator/(f32x16 x, f32x16 y) { return {_mm512_div_ps(x.v, y.v)}; }
inline f32x16 fma(f32x16 x, f32x16 y, f32x16 z) { return {_mm512_fmadd_ps(x.v, y.v, z.v)}; }
inline f32x16 min(f32x16 x, f32x16 y) { return {_mm512_min_ps(x.v, y.v)}; }
inline f32x16 max(f32x16 x, f32x16 y) { return {_mm512_max_ps(x.v, y.v)}; }
inline f32x16 abs(f32x16 x) { return {_mm512_abs_ps(x.v)}; }
inline f32x16 round(f32x16 x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline float sum(f32x16 x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(f32x16 x) { return _mm512_reduce_max_ps(x.v); }

inline i32x16 operator+(i32x16 x, i32x16 y) { return {_mm512_add_epi32(x.v, y.v)}; }
inline std::int32_t sum(i32x16 x) { return _mm512_reduce_add_epi32(x.v); }
inline i32x16 to_int(f32x16 x) { return {_mm512_cvtps_epi32(x.v)}; }
inline f32x16 to_float(i32x16 x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline f32x16 power_of_two(i32x16 n) {
  const __m512i exponent = _mm512_add_epi32(n.v, _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}
inline f32x16 zero_below(f32x16 x, f32x16 bound, f32x16 y) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_NLT_UQ), y.v)};
}

inline f32x16 load_half(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline f32x16 load_half(const std::uint16_t* p, int count) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes_below(count), p))};
}
inline void store_half(std::uint16_t* p, f32x16 x, int count) {
  _mm256_mask_storeu_epi16(p, lanes_below(count),
                           _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store_bfloat(std::uint16_t* p, f32x16 x) {
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  const __m512i high = _mm512_mask_or_epi32(up, is_nan, bits, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(high, 16)));
}
inline void store_bytes(std::int8_t* p, i32x16 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(x.v));
}

inline i32x16 load_pairs(const void* p) { return {_mm512_loadu_si512(p)}; }
inline f32x16 first_of_pairs(i32x16 pairs) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs.v, 16))};
}
inline f32x16 second_of_pairs(i32x16 pairs) {
  const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm512_castsi512_ps(_mm512_and_si512(pairs.v, high))};
}
inline f32x16 dot_half(f32x16 total, i32x16 pairs, std::int32_t x) {
  const i32x16 both = splat(x);
#if defined(SLM_HAS_HALF_PRODUCTS)
  return {_mm512_dpbf16_ps(total.v, (__m512bh)both.v, (__m512bh)pairs.v)};
#else
  total = fma(first_of_pairs(both), first_of_pairs(pairs), total);
  return fma(second_of_pairs(both), second_of_pairs(pairs), total);
#endif
}

inline Codes load_codes(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline i32x16 dot4(i32x16 total, Codes codes, std::int32_t x) {
  return {_mm512_dpbusd_epi32(total.v, codes.v, _mm512_set1_epi32(x))};
}

struct Nibbles {
  __m512i low, high;
};
inline Nibbles load_nibbles(const std::uint8_t* p) {
  const __m512i both = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
  return {_mm512_and_si512(both, mask), _mm512_and_si512(_mm512_srli_epi16(both, 4), mask)};
}
struct NibbleSum {
  i32x16 total;
  void add(Nibbles nibbles, std::int32_t low, std::int32_t high) {
    total = dot4(dot4(total, {nibbles.low}, low), {nibbles.high}, high);
  }
  i32x16 value() const { return total; }
};
inline NibbleSum nibble_sum(i32x16 start) { return {start}; }

}  // namespace
}  // namespace slm
