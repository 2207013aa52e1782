// SHA-256: portable, and with the instructions that most x86-64 processors have for it.
#include "weights/sha256.h"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SLM_SHA_INSTRUCTIONS 1
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace slm {
namespace {

constexpr std::size_t kBlock = 64;

alignas(16) constexpr std::uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<std::uint32_t, 8>;

std::uint32_t load_big(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
}

void process_portable(State& state, const std::uint8_t* block) {
  std::uint32_t words[64];
  for (int index = 0; index < 16; ++index) words[index] = load_big(block + 4 * index);
  for (int index = 16; index < 64; ++index) {
    const std::uint32_t early = words[index - 15], late = words[index - 2];
    words[index] = words[index - 16] + words[index - 7] +
                   (std::rotr(early, 7) ^ std::rotr(early, 18) ^ early >> 3) +
                   (std::rotr(late, 17) ^ std::rotr(late, 19) ^ late >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (int index = 0; index < 64; ++index) {
    const std::uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                                ((e & f) ^ (~e & g)) + kRounds[index] + words[index];
    const std::uint32_t second =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
  }
  const State added = {a, b, c, d, e, f, g, h};
  for (std::size_t index = 0; index < state.size(); ++index) state[index] += added[index];
}

#if defined(SLM_SHA_INSTRUCTIONS)

bool has_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool is_sse41 = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 19)) != 0;
  return is_sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & (1u << 29)) != 0;
}

// The instructions want the state as the pairs of words (a, b, e, f) and (c, d, g, h).
__attribute__((target("sha,sse4.1,ssse3"))) void process_with_instructions(
    State& state, const std::uint8_t* blocks, std::size_t count) {
  const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  const auto load_state = [&](int index) __attribute__((target("sha,sse4.1,ssse3"))) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(state.data() + index));
  };
  const __m128i badc = _mm_shuffle_epi32(load_state(0), 0xB1);
  const __m128i efgh = _mm_shuffle_epi32(load_state(4), 0x1B);
  __m128i abef = _mm_alignr_epi8(badc, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, badc, 0xF0);
  for (; count > 0; --count, blocks += kBlock) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i words[4];
    for (int index = 0; index < 16; ++index) {
      __m128i& now = words[index % 4];
      if (index < 4) {
        now = _mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks) + index);
        now = _mm_shuffle_epi8(now, order);
      } else {
        const __m128i last = words[(index + 3) % 4];
        const __m128i middle = _mm_alignr_epi8(last, words[(index + 2) % 4], 4);
        now = _mm_sha256msg1_epu32(now, words[(index + 1) % 4]);
        now = _mm_sha256msg2_epu32(_mm_add_epi32(now, middle), last);
      }
      const auto* rounds = reinterpret_cast<const __m128i*>(kRounds) + index;
      const __m128i sum = _mm_add_epi32(now, _mm_load_si128(rounds));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  auto* words = reinterpret_cast<__m128i*>(state.data());
  _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
}

#endif

}  // namespace

void Sha256::process(const std::uint8_t* blocks, std::size_t count) {
#if defined(SLM_SHA_INSTRUCTIONS)
  static const bool kHasInstructions = has_instructions();
  if (kHasInstructions) {
    process_with_instructions(state_, blocks, count);
    return;
  }
#endif
  for (; count > 0; --count, blocks += kBlock) process_portable(state_, blocks);
}

void Sha256::add(const void* bytes, std::size_t count) {
  const auto* next = static_cast<const std::uint8_t*>(bytes);
  const std::size_t held = total_ % kBlock;
  total_ += count;
  if (held != 0) {
    const std::size_t taken = std::min(count, kBlock - held);
    std::memcpy(waiting_.data() + held, next, taken);
    next += taken;
    count -= taken;
    if (held + taken < kBlock) return;
    process(waiting_.data(), 1);
  }
  process(next, count / kBlock);
  if (count % kBlock != 0) {
    std::memcpy(waiting_.data(), next + count / kBlock * kBlock, count % kBlock);
  }
}

std::string Sha256::finish() {
  const std::uint64_t bits = total_ * 8;
  static constexpr std::uint8_t kEnd[kBlock] = {0x80};
  add(kEnd, 1 + (kBlock + 55 - total_ % kBlock) % kBlock);
  std::uint8_t length[8];
  for (int index = 0; index < 8; ++index) {
    length[index] = static_cast<std::uint8_t>(bits >> (56 - 8 * index));
  }
  add(length, sizeof length);
  std::string digits;
  for (const std::uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4)
      digits.push_back("0123456789abcdef"[word >> shift & 15]);
  }
  return digits;
}

}  // namespace slm
