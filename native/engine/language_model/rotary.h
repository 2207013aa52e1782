// Rotary positions: cosines and sines of position · frequency.
//
// In: frequencies, and the positions of a call's rows. Out: for each row the four tables that turn
// its keys and queries. Queries are divided by sqrt(head_dim) in the same turn. The angle is a
// product of floats, as in the tables that checkpoints are trained with; its cosine is rounded
// once.
#pragma once

#include "language_model/buffer.h"
#include "weights/weights.h"

namespace slm {

class RotaryTables {
 public:
  RotaryTables(int rows, int head_dim)
      : pairs_(head_dim / 2), tables_(static_cast<std::size_t>(rows) * 4 * pairs_) {}

  void fill(int row, int position, const Vector<float>& frequencies);

  const float* key_cosines(int row) const { return table(row, 0); }
  const float* key_sines(int row) const { return table(row, 1); }
  const float* query_cosines(int row) const { return table(row, 2); }
  const float* query_sines(int row) const { return table(row, 3); }

 private:
  float* table(int row, int number) const {
    return tables_.data() + (static_cast<std::size_t>(row) * 4 + number) * pairs_;
  }

  int pairs_;
  Buffer<float> tables_;  // [rows][4][pairs]
};

}  // namespace slm
