// embeddings.npy: the input embedding of every token, float32 or float16 [vocabulary, hidden_size].
//
// In: a path. Out: rows as float32. The file is mapped: most of its rows are never read.
#pragma once

#include <cstddef>
#include <string>

#include "weights/pages.h"

namespace slm {

class EmbeddingTable {
 public:
  // Throws Failure: damaged, or of another width.
  EmbeddingTable(const std::string& path, int hidden_size);

  int vocabulary() const { return vocabulary_; }
  // embedding: [hidden_size] of a token in 0 … vocabulary - 1.
  void read(int token, float* embedding) const;

 private:
  Pages pages_;
  std::size_t begin_ = 0;  // of the first row, in bytes
  int vocabulary_ = 0;
  int hidden_size_ = 0;
  bool is_half_ = false;
};

}  // namespace slm
