// The heads: hidden states become scores of speech codes.
//
// In: for each sequence the hidden states that its heads have not read. Out: scores after the last
// one. Heads are linear layers, or two with SiLU between, or decoder layers with caches of their
// own; a next-token model has a linear layer for each stream and uses the one whose turn it is.
// They draw nothing.
#pragma once

#include <atomic>
#include <span>
#include <vector>

#include "language_model/decoder_stack.h"
#include "language_model/speech_codes.h"

namespace slm {

// One sequence in a call of the heads.
struct HeadRow {
  const float* hidden = nullptr;   // [unread][padded hidden size]
  int unread = 1;                  // more than one only if heads are transformers
  int slot = 0;                    // next-token models: the stream whose turn it is
  KeyValueCache* cache = nullptr;  // transformers: has room for all that is unread
  int position = 0;                // transformers: of the first unread
  const std::atomic<bool>* is_cancelled = nullptr;
};

// Everything that one head is made of. What its kind lacks is empty.
struct SpeechHead {
  std::vector<Matrix> inner;          // mlp
  std::vector<DecoderStack> decoder;  // transformer
  Vector<float> norm_weight;
  Vector<float> norm_bias;
  Matrix output;
};

class SpeechHeads;

class HeadMemory {
 public:
  HeadMemory(int rows, const ModelSizes& sizes, const SpeechHeads& heads);

  // Of draw `draw` of a row: the entries of its head.
  std::span<float> scores(int row, int draw, int entries) const {
    return {scores_.data() + (static_cast<std::size_t>(row) * draws_ + draw) * stride_,
            static_cast<std::size_t>(entries)};
  }

 private:
  friend class SpeechHeads;
  Output output(int draw) const {
    return {scores_.data() + static_cast<std::ptrdiff_t>(draw) * stride_, draws_ * stride_, false};
  }

  int draws_;  // of each row
  std::ptrdiff_t stride_;
  ProductRows input_;
  ProductRows inner_;
  Buffer<float> of_turn_;  // next-token models: [rows][stride], those of one stream
  Buffer<float> scores_;   // [rows][draws][stride]
};

class SpeechHeads {
 public:
  // Throws Failure.
  SpeechHeads(const Weights& weights, const ModelSizes& sizes, const SpeechCodes& codes);

  // Codes that a step draws.
  int draws() const { return sizes_.heads; }
  // Entries of the head that makes draw `draw` of a sequence.
  int entries(int draw, int slot) const {
    return heads_[sizes_.is_next_token ? slot : draw].output.outputs;
  }
  int most_entries() const;
  const std::vector<SpeechHead>& heads() const { return heads_; }
  std::int64_t bytes() const;  // of weights that one sequence's step reads
  // A head's number among the layers whose times are kept: behind those of the backbone. The heads'
  // decoder layers come behind all heads.
  int timed_head(int number) const { return sizes_.layers + number; }
  bool are_transformers() const { return sizes_.head_kind == HeadKind::transformer; }

  // Scores of all draws of all rows, into `memory`. decoder: room for transformers' rows. Throws
  // Failure if a sequence was cancelled.
  void score(const Team& team, std::span<const HeadRow> rows, HeadMemory& memory,
             DecoderMemory& decoder) const;

 private:
  void score_turns(const Team& team, std::span<const HeadRow> rows, HeadMemory& memory) const;
  void decode(const Team& team, const SpeechHead& head, std::span<const HeadRow> rows,
              HeadMemory& memory, DecoderMemory& decoder) const;
  void bend(const Team& team, const SpeechHead& head, int count, HeadMemory& memory) const;

  ModelSizes sizes_;
  std::vector<SpeechHead> heads_;
};

}  // namespace slm
