// What a test program needs: a check that says where it failed, and random numbers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace slm {

// Unlike assert, in every build. detail: what was tried.
inline void check(bool holds, const char* what, const char* detail, const char* file, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: %s does not hold (%s)\n", file, line, what, detail);
  std::exit(1);
}

// The same numbers on every system (the standard's distributions are not): PCG32.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}

  std::uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    const auto shifted = static_cast<std::uint32_t>(((state_ >> 18) ^ state_) >> 27);
    const auto turn = static_cast<std::uint32_t>(state_ >> 59);
    return shifted >> turn | shifted << ((32 - turn) & 31);
  }
  // least … most.
  int integer(int least, int most) {
    return least + static_cast<int>(bits() % static_cast<std::uint32_t>(most - least + 1));
  }
  float real(float least, float most) {
    return least + (most - least) * (static_cast<float>(bits() >> 8) * 0x1p-24f);
  }
  std::vector<float> reals(std::size_t count, float least = -1, float most = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = real(least, most);
    return values;
  }

 private:
  std::uint64_t state_;
};

}  // namespace slm

#define CHECK(holds, detail) ::slm::check((holds), #holds, (detail), __FILE__, __LINE__)
