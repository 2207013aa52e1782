// The random numbers of NumPy: numpy.random.default_rng([seed, sentence]).random(dtype=float32).
//
// In: a seed. Out: floats in [0, 1), the same as in Python, so that speech with a seed is the same.
// Sources: numpy/random/bit_generator.pyx (SeedSequence) and PCG64 (https://www.pcg-random.org).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

class Noise {
 public:
  Noise(std::uint64_t seed, std::uint32_t sentence) {
    std::vector<std::uint32_t> entropy = {static_cast<std::uint32_t>(seed)};
    if (seed >> 32 != 0) entropy.push_back(static_cast<std::uint32_t>(seed >> 32));
    entropy.push_back(sentence);
    const std::array<std::uint64_t, 4> words = generate(mix_pool(entropy));
    increment_ = (Wide{words[2]} << 64 | words[3]) << 1 | 1;
    advance();
    state_ += Wide{words[0]} << 64 | words[1];
    advance();
  }

  // The next number. Two come of each output of 64 bits, its low half first.
  float next() {
    if (!has_half_) {
      advance();
      const auto mixed =
          static_cast<std::uint64_t>(state_ >> 64) ^ static_cast<std::uint64_t>(state_);
      const int turn = static_cast<int>(state_ >> 122);
      output_ = mixed >> turn | mixed << (-turn & 63);
    } else {
      output_ >>= 32;
    }
    has_half_ = !has_half_;
    return static_cast<float>(static_cast<std::uint32_t>(output_) >> 8) * (1.0f / 16777216.0f);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  using Pool = std::array<std::uint32_t, 4>;

  static std::uint32_t hash(std::uint32_t value, std::uint32_t& constant, std::uint32_t factor) {
    value ^= constant;
    constant *= factor;
    value *= constant;
    return value ^ value >> 16;
  }

  static Pool mix_pool(const std::vector<std::uint32_t>& entropy) {
    std::uint32_t constant = 0x43b0d7e5;
    const auto hash_next = [&](std::uint32_t value) { return hash(value, constant, 0x931e8875); };
    const auto mix = [](std::uint32_t one, std::uint32_t other) {
      const std::uint32_t mixed = 0xca01f9dd * one - 0x4973f715 * other;
      return mixed ^ mixed >> 16;
    };
    Pool pool{};
    for (std::size_t index = 0; index < pool.size(); ++index) {
      pool[index] = hash_next(index < entropy.size() ? entropy[index] : 0);
    }
    for (std::size_t source = 0; source < pool.size(); ++source) {
      for (std::size_t target = 0; target < pool.size(); ++target) {
        if (source != target) pool[target] = mix(pool[target], hash_next(pool[source]));
      }
    }
    return pool;  // a seed of 64 bits and a sentence leave no entropy beyond the pool
  }

  static std::array<std::uint64_t, 4> generate(const Pool& pool) {
    std::uint32_t constant = 0x8b51f9dd;
    std::array<std::uint64_t, 4> words{};
    for (std::size_t index = 0; index < 2 * words.size(); ++index) {
      const std::uint64_t half = hash(pool[index % pool.size()], constant, 0x58f38ded);
      words[index / 2] |= half << 32 * (index % 2);
    }
    return words;
  }

  void advance() {
    constexpr Wide kFactor = Wide{2549297995355413924u} << 64 | 4865540595714422341u;
    state_ = state_ * kFactor + increment_;
  }

  Wide state_ = 0;
  Wide increment_ = 0;
  std::uint64_t output_ = 0;
  bool has_half_ = false;
};
