// Qwen2 decoder layers: what the backbone and transformer heads are made of.
//
// In: rows, each one position of some sequence, with that sequence's cache. Out: the residual
// stream behind the last layer. Every row is computed as if it were alone. It does not know what
// comes before and after, and not what a position means.
#pragma once

#include <atomic>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "language_model/key_value_cache.h"
#include "language_model/product_rows.h"
#include "language_model/rotary.h"
#include "language_model/team.h"
#include "weights/sizes.h"
#include "weights/weights.h"

namespace slm {

// One position to be read. Rows of one sequence stand in the order of their positions.
struct DecoderRow {
  KeyValueCache* cache = nullptr;  // has room for the position
  int position = 0;
  bool is_wanted = true;  // false: only its keys and values are
  const std::atomic<bool>* is_cancelled = nullptr;
};

struct DecoderLayer {
  Vector<float> input_norm;
  Matrix qkv;
  Matrix attention_output;
  Vector<float> mlp_norm;
  Matrix gate_up;
  Matrix down;

  // prefix: "layer.0.". Throws Failure.
  DecoderLayer(const Weights& weights, const ModelSizes& sizes, const std::string& prefix);
};

// Rows of a call and working memory for them, which any decoder of one model can use.
class DecoderMemory {
 public:
  // layers: of all those decoders.
  DecoderMemory(int rows, const ModelSizes& sizes, const std::vector<const DecoderLayer*>& layers);
  // Make room for attention over so many positions, for `threads` threads. Throws std::bad_alloc.
  void reserve(int positions, int threads);

  int most_rows() const { return static_cast<int>(rows_.size()); }
  DecoderRow& row(int index) { return rows_[index]; }
  // The residual stream of a row, filled up with zeros.
  float* x(int index) const { return x_.data() + static_cast<std::size_t>(index) * x_stride_; }
  std::ptrdiff_t x_stride() const { return x_stride_; }

 private:
  friend class DecoderStack;
  std::vector<DecoderRow> rows_;
  int x_stride_;
  int qkv_stride_;
  int gate_up_stride_;
  int group_;  // query heads of a key head
  Buffer<float> x_;
  ProductRows normed_;
  ProductRows attended_;
  ProductRows product_;  // silu(gate) · up
  Buffer<float> qkv_;
  Buffer<float> gate_up_;
  RotaryTables rotary_;
  int scratch_positions_ = 0;
  Buffer<float> scratch_;  // of attention: [pieces][group][positions]
};

class DecoderStack {
 public:
  // Layers `prefix`0 … count - 1; the first has its keys and values in layer `first_cache_layer` of
  // the rows' caches. first_timed: its number among the layers whose times are kept. Throws Failure.
  DecoderStack(const Weights& weights, const ModelSizes& sizes, const std::string& prefix,
               int count, int first_cache_layer, int first_timed);

  const std::vector<DecoderLayer>& layers() const { return layers_; }
  std::int64_t bytes() const;  // of weights that a row reads

  // Read rows 0 … count - 1 of the memory: x is changed in place. Rows that are wanted move to the
  // front; returns how many they are. Throws Failure if a row's sequence was cancelled.
  int run(const Team& team, DecoderMemory& memory, int count) const;

 private:
  class Call;
  ModelSizes sizes_;
  Vector<float> frequencies_;
  std::vector<DecoderLayer> layers_;
  int first_cache_layer_;
  int first_timed_;
};

}  // namespace slm
