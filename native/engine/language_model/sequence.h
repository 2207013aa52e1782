// One utterance of the language model: what it has read, and the codes that it has drawn.
//
// In: a model's sizes. Out: memory that `LanguageModel` reads and writes. Whatever a call computes
// is kept beside the present state until nothing can fail any more; then `commit` makes it the
// present one. One thread at a time uses a sequence; a second one is refused. It computes nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "language_model/buffer.h"
#include "language_model/key_value_cache.h"
#include "weights/sizes.h"

namespace slm {

class Sequence {
 public:
  // Room for `positions`, or as many as the model has. Throws std::bad_alloc.
  Sequence(const ModelSizes& sizes, int entries, std::int64_t positions);

  // May be called by any thread.
  void cancel() { is_cancelled_.store(true, std::memory_order_relaxed); }
  // Throws Failure if it was.
  void check_cancelled() const;
  const std::atomic<bool>& is_cancelled() const { return is_cancelled_; }

  // What it has read, of a sequence that was opened for as many positions and has drawn nothing:
  // keys and values, the last hidden state, and those that transformer heads have not read.
  std::size_t read_bytes(int positions) const;
  void save(std::byte* bytes) const;
  // The same for a sequence that has read nothing: it has read `positions` then.
  void restore(int positions, const std::byte* bytes);

  // Throws Failure if nothing was read.
  void require_hidden() const;
  // Hidden state of the last position read, [padded hidden size]; null before the first.
  const float* hidden() const { return state_.position > 0 ? hidden_.data() : nullptr; }

 private:
  friend class LanguageModel;
  friend class SequenceTurn;

  struct State {
    int position = 0;            // as many are read by the backbone
    int heads_position = 0;      // and by heads of kind transformer
    int slot = 0;                // next-token models: the stream whose turn it is
    bool has_embedding = false;  // the codes drawn last are still to be read
  };

  template <typename Visit>
  void visit_read(int positions, const Visit& visit) const;
  // Make room for `more` positions. Throws Failure(SLM_NO_ROOM) or std::bad_alloc; nothing that is
  // in use has changed then.
  void reserve(int more);
  // The same for the caches of the heads, which read all that the backbone has read and will read.
  void reserve_heads(int more);

  bool has_embedding() const { return state_.has_embedding; }
  // Row of a hidden state that the heads have not read; 0 is that of position `heads_position`.
  float* unread(int index) const {
    return unread_.data() + static_cast<std::size_t>(index) * width_;
  }
  std::uint8_t* seen(int draw) const {
    return seen_.data() + static_cast<std::size_t>(draw) * entries_;
  }

  // Begin a call: what will be is what is.
  void begin() { next_ = state_; }
  // Of a sequence that has read nothing: what another one has read is what this one will have. There
  // is room for it.
  void adopt(const Sequence& read);
  void commit();

  ModelSizes sizes_;
  int width_;    // padded hidden size
  int entries_;  // of the largest head
  State state_;
  State next_;
  KeyValueCache cache_;
  KeyValueCache head_cache_;
  Buffer<float> hidden_;
  Buffer<float> next_hidden_;
  Buffer<float> embedding_;  // of the codes drawn last
  Buffer<float> next_embedding_;
  int unread_room_ = 0;
  Buffer<float> unread_;       // transformers: hidden states that the heads have not read
  Buffer<std::uint8_t> seen_;  // [draws; next-token: streams][entries], 1 where drawn before
  std::atomic<bool> is_cancelled_{false};
  std::atomic<bool> is_busy_{false};
};

// The sequences of a call, each taken by this call alone.
class SequenceTurn {
 public:
  // Throws Failure if one of them is there twice, in use, or cancelled.
  explicit SequenceTurn(std::span<Sequence* const> sequences);
  ~SequenceTurn() { release(taken_); }
  SequenceTurn(const SequenceTurn&) = delete;
  SequenceTurn& operator=(const SequenceTurn&) = delete;

 private:
  void release(std::size_t count);

  std::span<Sequence* const> sequences_;
  std::size_t taken_ = 0;
};

}  // namespace slm
