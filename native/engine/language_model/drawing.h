// Drawing one entry from scores, as export/language_model/sampling.py does it in a graph.
//
// In: scores, settings, a number in [0, 1), and which entries were drawn before. Out: an entry. The
// order is the published one: repetition penalty, temperature, top-k, top-p, draw (arXiv
// 2506.12537). It does not know what an entry means. Hostile scores (NaN, infinities) draw some
// entry.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/kernels.h"
#include "language_model/buffer.h"
#include "slm.h"

namespace slm {

// Throws Failure: a setting, or `noise`, is out of its range.
void check_sampling(const slm_sampling& sampling, float noise);

// Where seen: score · penalty if the score is negative, score / penalty otherwise.
void penalize(std::span<float> scores, const std::uint8_t* seen, float penalty);

// Working memory of one draw.
class DrawMemory {
 public:
  DrawMemory() = default;
  explicit DrawMemory(int entries) : ranked_(entries), probabilities_(entries) {}

 private:
  friend int draw(const Kernels&, std::span<const float>, const slm_sampling&, float, DrawMemory&);
  Buffer<std::uint64_t> ranked_;
  Buffer<float> probabilities_;
};

// scores: at most as many as the memory has entries. A top_k of 1 is greedy: noise has no effect,
// and of equal scores the first wins.
int draw(const Kernels& kernels, std::span<const float> scores, const slm_sampling& sampling,
         float noise, DrawMemory& memory);

}  // namespace slm
