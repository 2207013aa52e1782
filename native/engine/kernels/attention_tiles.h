// What tiles of attention share: how many heads and vectors they have, and where scores lie.
//
// Included after a simd_*.h.
#pragma once

#include "kernels/tiles.h"
#include "kernels/vectors.h"

namespace slm {
namespace {

// Bytes. A processor reads ahead within a page only, and less than attention needs: without asking,
// keys and values that lie in memory take more than twice the time.
constexpr int kLine = 64;
constexpr int kKeysAhead = 8192, kValuesAhead = 8192;

// Vectors that a tile of so many heads works on at a time.
constexpr int beside(int heads) {
  const int many = kAttentionSums / heads;
  return many < 1 ? 1 : many > 4 ? 4 : many;
}

inline float* scores_of(const Attention& a, int head) {
  return a.scratch + std::ptrdiff_t{head} * round_up(a.length, kPanel);
}

}  // namespace
}  // namespace slm
