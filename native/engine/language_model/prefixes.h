// What prompts begin with, read once for all sequences.
//
// In: sequences that have read prefixes. Out: the one that a prompt begins with. Its keys and values
// are those that reading it again would give, bit for bit, so they can be copied instead.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "language_model/sequence.h"

namespace slm {

// embeddings: [positions][width], which the sequence has read and nothing else.
struct Prefix {
  std::vector<float> embeddings;
  std::unique_ptr<const Sequence> sequence;
};

class Prefixes {
 public:
  explicit Prefixes(int width) : width_(width) {}

  void add(Prefix prefix) { prefixes_.push_back(std::move(prefix)); }
  const std::vector<Prefix>& all() const { return prefixes_; }
  // The longest one whose embeddings have the same bits as the first of these, [count][width]; null
  // if there is none.
  const Sequence* find(const float* embeddings, std::size_t count) const;

 private:
  std::size_t width_;
  std::vector<Prefix> prefixes_;
};

}  // namespace slm
