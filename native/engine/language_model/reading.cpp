// Reading: embeddings become keys, values and hidden states of a sequence.
#include <algorithm>
#include <string>
#include <utility>

#include "failure.h"
#include "language_model/loan.h"
#include "language_model/timed_layers.h"

namespace slm {

void LanguageModel::read(Sequence& sequence, const float* embeddings, std::size_t count) const {
  if (count > static_cast<std::size_t>(sizes_.max_positions)) {
    throw Failure(SLM_NO_ROOM, "a sequence has room for " + std::to_string(sizes_.max_positions) +
                                   " positions, and " + std::to_string(count) +
                                   " are to be read; shorten the prompt");
  }
  Sequence* const one = &sequence;
  const SequenceTurn turn({&one, 1});
  sequence.check_cancelled();
  read_in_turn(sequence, embeddings, static_cast<int>(count));
}

void LanguageModel::read_in_turn(Sequence& sequence, const float* embeddings, int count) const {
  const int drawn = sequence.has_embedding() ? 1 : 0;
  const int all = drawn + count;
  if (all == 0) return;
  Stopwatch watch(read_times_.get());
  const Team team = team_.timed_by(watch);
  Loan loan(*this);
  DecoderMemory& memory = (*loan).decoder;
  sequence.begin();
  reserve(sequence, all, *loan);
  const int known = adopt_prefix(sequence, embeddings, count);
  for (int first = known; first < all; first += kBlockRows) {
    const int rows = std::min(kBlockRows, all - first);
    for (int row = 0; row < rows; ++row) {
      const int index = first + row;
      const std::ptrdiff_t given = index - drawn;
      const float* embedding =
          given < 0 ? sequence.embedding_.data() : embeddings + given * sizes_.hidden_size;
      fill_row(sequence, memory, row, index, embedding, index == all - 1);
    }
    const int wanted = backbone_.run(team, memory, rows);
    for (int row = 0; row < wanted; ++row) keep_hidden(sequence, memory, row);
    team.laps.at(timed_final(sizes_, heads_)).lap(Timed::norm, wanted > 0 ? 1 : 0);
  }
  sequence.next_.position += all;
  sequence.next_.has_embedding = false;
  sequence.commit();
  watch.finish();
}

// A prompt may begin with what was read while the model was loaded. Returns how many positions of it
// need not be read again.
int LanguageModel::adopt_prefix(Sequence& sequence, const float* embeddings, int count) const {
  if (sequence.state_.position > 0) return 0;
  const Sequence* prefix = prefixes_.find(embeddings, count);
  if (prefix == nullptr) return 0;
  sequence.adopt(*prefix);
  return prefix->state_.position;
}

void LanguageModel::keep_prefix(std::vector<float> embeddings) {
  const std::size_t count = embeddings.size() / sizes_.hidden_size;
  std::unique_ptr<Sequence> sequence = open(static_cast<std::int64_t>(count));
  read(*sequence, embeddings.data(), count);
  prefixes_.add({std::move(embeddings), std::move(sequence)});
  // Nobody has asked for it, so it counts in no stage.
  if (read_times_) read_times_->take([](auto&&...) {});
}

void LanguageModel::keep_prefix(std::vector<float> embeddings, std::span<const std::byte> read) {
  const int count = static_cast<int>(embeddings.size() / sizes_.hidden_size);
  std::unique_ptr<Sequence> sequence = open(count);
  if (read.size() != sequence->read_bytes(count)) {
    throw Failure(SLM_BAD_BUNDLE, "a stored prefix has " + std::to_string(read.size()) +
                                      " bytes instead of " +
                                      std::to_string(sequence->read_bytes(count)) +
                                      "; export the bundle again");
  }
  sequence->restore(count, read.data());
  prefixes_.add({std::move(embeddings), std::move(sequence)});
}

void LanguageModel::reserve(Sequence& sequence, int more, Workspace& workspace) const {
  sequence.reserve(more);
  workspace.decoder.reserve(sequence.state_.position + more, team_.threads);
}

// Row `row` of the decoder is the `index`th that the sequence reads in this call. Only the last
// hidden state is of use, unless heads have to read all of them.
void LanguageModel::fill_row(Sequence& sequence, DecoderMemory& memory, int row, int index,
                             const float* embedding, bool is_last) const {
  std::copy_n(embedding, sizes_.hidden_size, memory.x(row));
  memory.row(row) = {&sequence.cache_, sequence.state_.position + index,
                     is_last || heads_.are_transformers(), &sequence.is_cancelled_};
}

void LanguageModel::keep_hidden(Sequence& sequence, DecoderMemory& memory, int row) const {
  float* hidden = sequence.next_hidden_.data();
  team_.kernels->rms_norm(memory.x(row), final_norm_.data, sizes_.rms_norm_epsilon,
                          sizes_.hidden_size, hidden);
  if (!heads_.are_transformers()) return;
  const int unread = memory.row(row).position - sequence.state_.heads_position;
  std::copy_n(hidden, sequence.width_, sequence.unread(unread));
}

void LanguageModel::copy_hidden(const Sequence& sequence, float* hidden) const {
  sequence.check_cancelled();
  sequence.require_hidden();
  std::copy_n(sequence.hidden(), sizes_.hidden_size, hidden);
}

}  // namespace slm
