#include "language_model/sequence.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "failure.h"

namespace slm {
namespace {

CacheShape backbone_cache(const ModelSizes& sizes) {
  return {sizes.layers, sizes.kv_heads, sizes.head_dim, sizes.cache};
}

CacheShape heads_cache(const ModelSizes& sizes) {
  return {sizes.heads * sizes.head_layers, sizes.kv_heads, sizes.head_dim, sizes.cache};
}

int rows_of_seen(const ModelSizes& sizes) {
  return sizes.is_next_token ? static_cast<int>(sizes.streams.size()) : sizes.heads;
}

}  // namespace

Sequence::Sequence(const ModelSizes& sizes, int entries, std::int64_t positions)
    : sizes_(sizes),
      width_(round_up(sizes.hidden_size, kPanel)),
      entries_(entries),
      cache_(backbone_cache(sizes)),
      head_cache_(heads_cache(sizes)),
      hidden_(width_),
      next_hidden_(width_),
      embedding_(width_),
      next_embedding_(width_),
      seen_(static_cast<std::size_t>(rows_of_seen(sizes)) * entries) {
  const int room = static_cast<int>(std::clamp<std::int64_t>(positions, 1, sizes.max_positions));
  cache_.reserve(room, 0, sizes.max_positions);
  if (sizes.head_kind == HeadKind::transformer) head_cache_.reserve(room, 0, sizes.max_positions);
}

void Sequence::check_cancelled() const {
  if (is_cancelled_.load(std::memory_order_relaxed)) {
    throw Failure(SLM_CANCELLED, "the sequence was cancelled; close it and open another");
  }
}

void Sequence::require_hidden() const {
  if (hidden() == nullptr) {
    throw Failure(SLM_BAD_ARGUMENT, "the sequence has read nothing; call slm_read with a prompt");
  }
}

void Sequence::reserve(int more) {
  const int positions = state_.position + more;
  if (positions > sizes_.max_positions) {
    throw Failure(SLM_NO_ROOM, "the sequence has read " + std::to_string(state_.position) +
                                   " positions and would read " + std::to_string(more) +
                                   " more; the model knows " +
                                   std::to_string(sizes_.max_positions) + ": end the utterance");
  }
  cache_.reserve(positions, state_.position, sizes_.max_positions);
  if (sizes_.head_kind != HeadKind::transformer) return;
  const int waiting = positions - state_.heads_position;
  if (waiting <= unread_room_) return;
  const int room = std::max(waiting, unread_room_ + unread_room_ / 2);
  Buffer<float> grown(static_cast<std::size_t>(room) * width_);
  const int kept = state_.position - state_.heads_position;
  if (kept > 0) std::copy_n(unread_.data(), static_cast<std::size_t>(kept) * width_, grown.data());
  unread_ = std::move(grown);
  unread_room_ = room;
}

void Sequence::reserve_heads(int more) {
  head_cache_.reserve(state_.position + more, state_.heads_position, sizes_.max_positions);
}

// Parts of what was read, in the order of `save`: visit(memory, bytes).
template <typename Visit>
void Sequence::visit_read(int positions, const Visit& visit) const {
  const std::size_t row = static_cast<std::size_t>(width_) * sizeof(float);
  visit(cache_.data(), cache_.bytes());
  visit(reinterpret_cast<std::byte*>(hidden_.data()), row);
  if (sizes_.head_kind != HeadKind::transformer) return;
  visit(reinterpret_cast<std::byte*>(unread_.data()), static_cast<std::size_t>(positions) * row);
}

std::size_t Sequence::read_bytes(int positions) const {
  std::size_t sum = 0;
  visit_read(positions, [&](const std::byte*, std::size_t bytes) { sum += bytes; });
  return sum;
}

void Sequence::save(std::byte* bytes) const {
  visit_read(state_.position, [&](const std::byte* part, std::size_t size) {
    std::memcpy(bytes, part, size);
    bytes += size;
  });
}

void Sequence::restore(int positions, const std::byte* bytes) {
  reserve(positions);
  visit_read(positions, [&](std::byte* part, std::size_t size) {
    std::memcpy(part, bytes, size);
    bytes += size;
  });
  state_.position = positions;
}

void Sequence::adopt(const Sequence& read) {
  const int positions = read.state_.position;
  cache_.copy(read.cache_, positions);
  std::copy_n(read.hidden_.data(), width_, next_hidden_.data());
  if (sizes_.head_kind != HeadKind::transformer) return;
  std::copy_n(read.unread(0), static_cast<std::size_t>(positions) * width_, unread(0));
}

void Sequence::commit() {
  if (next_.position > state_.position) std::swap(hidden_, next_hidden_);
  if (next_.has_embedding) std::swap(embedding_, next_embedding_);
  state_ = next_;
}

SequenceTurn::SequenceTurn(std::span<Sequence* const> sequences) : sequences_(sequences) {
  for (Sequence* sequence : sequences) {
    if (sequence->is_busy_.exchange(true, std::memory_order_acquire)) {
      release(taken_);
      throw Failure(SLM_BAD_ARGUMENT,
                    "a sequence is there twice, or in use by another thread; give each one once");
    }
    ++taken_;
  }
}

void SequenceTurn::release(std::size_t count) {
  for (std::size_t index = 0; index < count; ++index) {
    sequences_[index]->is_busy_.store(false, std::memory_order_release);
  }
}

}  // namespace slm
