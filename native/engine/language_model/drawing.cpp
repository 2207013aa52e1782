#include "language_model/drawing.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "failure.h"

namespace slm {
namespace {

// Columns in which the best are looked for: more of them make a closer bound.
constexpr int kColumnsPerBest = 3;

void require(bool is_right, const char* message) {
  if (!is_right) throw Failure(SLM_BAD_ARGUMENT, message);
}

// A score and its index as one number: the higher score is the larger number, and of equal scores
// (0 equals -0) that of the lower index. NaN comes last.
std::uint64_t rank(float score, int index) {
  const float ordered = score != score ? -std::numeric_limits<float>::infinity() : score + 0.0f;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(ordered);
  const std::uint32_t sign = 0u - (bits >> 31);  // of negative numbers, all bits are turned
  const std::uint32_t key = bits ^ (sign | 0x8000'0000u);
  return std::uint64_t{key} << 32 | ~static_cast<std::uint32_t>(index);
}

int index_of(std::uint64_t ranked) {
  return static_cast<int>(~static_cast<std::uint32_t>(ranked));
}

int best_of(std::span<const float> scores) {
  int best = 0;
  for (int index = 1; index < static_cast<int>(scores.size()); ++index) {
    if (scores[index] > scores[best] || scores[best] != scores[best]) best = index;
  }
  return best;
}

// A score that at least `count` scores reach. Scores lie in more columns than that, and the largest
// of each column is as good: the `count`th of those is a bound. NaN is no score.
float bound_of_best(std::span<const float> scores, int count, std::span<float> largest) {
  std::fill(largest.begin(), largest.end(), -std::numeric_limits<float>::infinity());
  for (std::size_t begin = 0; begin < scores.size(); begin += largest.size()) {
    const std::size_t columns = std::min(largest.size(), scores.size() - begin);
    for (std::size_t column = 0; column < columns; ++column) {
      const float score = scores[begin + column];
      largest[column] = score > largest[column] ? score : largest[column];
    }
  }
  std::nth_element(largest.begin(), largest.begin() + count - 1, largest.end(), std::greater<>());
  return largest[count - 1];
}

// The `count` best, best first. columns: room for as many values as there are scores.
void rank_best(std::span<const float> scores, int count, float* columns, std::uint64_t* ranked) {
  const int entries = static_cast<int>(scores.size());
  const int wide = kColumnsPerBest * count;
  const float bound = wide < entries / 2
                          ? bound_of_best(scores, count, {columns, static_cast<std::size_t>(wide)})
                          : -std::numeric_limits<float>::infinity();
  int found = 0;
  for (int index = 0; index < entries; ++index) {  // without a branch: no one could foretell it
    ranked[found] = static_cast<std::uint64_t>(index);
    found += !(scores[index] < bound);
  }
  for (int place = 0; place < found; ++place) {
    const int index = static_cast<int>(ranked[place]);
    ranked[place] = rank(scores[index], index);
  }
  if (count < found) std::nth_element(ranked, ranked + count, ranked + found, std::greater<>());
  std::sort(ranked, ranked + count, std::greater<>());
}

// Of probabilities, likeliest first: keep those whose likelier entries do not exceed top_p
// together. All of them if top_p is 1. Returns how many are kept.
int nucleus(std::span<const float> probabilities, float top_p) {
  float before = 0;
  int kept = 0;
  for (const float probability : probabilities) {
    if (before > top_p && top_p < 1.0f) break;
    before += probability;
    ++kept;
  }
  return kept;
}

// The first whose cumulative probability is beyond noise · sum.
int invert(std::span<const float> probabilities, float noise) {
  float sum = 0;
  int possible = 0;
  for (const float probability : probabilities) {
    sum += probability;
    possible += probability > 0;
  }
  const float target = noise * sum;
  float cumulative = 0;
  int passed = 0;
  for (const float probability : probabilities) {
    cumulative += probability;
    passed += cumulative <= target;
  }
  return std::max(0,
                  std::min(passed, possible - 1));  // rounding may carry the target past the last
}

}  // namespace

void check_sampling(const slm_sampling& sampling, float noise) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  require(sampling.temperature > 0 && sampling.temperature <= kLargest,
          "sampling.temperature must be above 0");
  require(sampling.top_k >= 1, "sampling.top_k must be 1 or more");
  require(sampling.top_p >= 0 && sampling.top_p <= 1, "sampling.top_p must be from 0 to 1");
  require(sampling.repetition_penalty >= 1 && sampling.repetition_penalty <= kLargest,
          "sampling.repetition_penalty must be 1 or more");
  require(noise >= 0 && noise < 1, "noise must be from 0 to less than 1");
}

void penalize(std::span<float> scores, const std::uint8_t* seen, float penalty) {
  if (penalty == 1.0f) return;
  for (std::size_t index = 0; index < scores.size(); ++index) {
    const float score = scores[index];
    if (seen[index]) scores[index] = score < 0 ? score * penalty : score / penalty;
  }
}

int draw(const Kernels& kernels, std::span<const float> scores, const slm_sampling& sampling,
         float noise, DrawMemory& memory) {
  if (sampling.top_k == 1) return best_of(scores);
  const int count = std::min(sampling.top_k, static_cast<int>(scores.size()));
  rank_best(scores, count, memory.probabilities_.data(), memory.ranked_.data());
  const std::span<float> probabilities(memory.probabilities_.data(), count);
  for (int place = 0; place < count; ++place) {
    probabilities[place] = scores[index_of(memory.ranked_[place])] / sampling.temperature;
  }
  kernels.softmax(probabilities.data(), count);
  const int kept = nucleus(probabilities, sampling.top_p);
  return index_of(memory.ranked_[invert(probabilities.first(kept), noise)]);
}

}  // namespace slm
