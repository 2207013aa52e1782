#include "language_model/language_model.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "failure.h"
#include "language_model/loan.h"
#include "language_model/timed_layers.h"

namespace slm {
LanguageModel::LanguageModel(const Weights& weights, const ModelSizes& sizes,
                             const Kernels& kernels, int threads, bool keeps_times)
    : sizes_(sizes),
      team_{&kernels, std::max(1, threads)},
      backbone_(weights, sizes, "layer.", sizes.layers, 0, 0),
      final_norm_(weights.floats("final_norm", round_up(sizes.hidden_size, kPanel))),
      codes_(weights, sizes),
      heads_(weights, sizes, codes_),
      prefixes_(sizes.hidden_size) {
  if (keeps_times) {
    const int heads = static_cast<int>(heads_.heads().size());
    read_times_ = std::make_unique<PartTimes>("read", timed_layers(sizes, heads));
    step_times_ = std::make_unique<PartTimes>("step", timed_layers(sizes, heads));
  }
  if (sizes.is_speaker_aware()) speaker_.emplace(weights, sizes);
  if (!sizes.has_text_head()) return;
  text_head_ = weights.matrix("text_head", sizes.text_vocabulary, sizes.hidden_size);
  never_written_ = weights.bytes_of("text_head.never", sizes.text_vocabulary);
}

std::int64_t LanguageModel::step_bytes() const {
  const auto norm = static_cast<std::int64_t>(final_norm_.size * sizeof(float));
  return backbone_.bytes() + norm + heads_.bytes() + codes_.bytes_of(heads_.draws());
}

void LanguageModel::project_speaker(const float* speaker, float* embedding) const {
  if (!speaker_) throw Failure(SLM_NOT_SUPPORTED, "the model of this bundle takes no speaker");
  speaker_->run(team_, speaker, embedding);
}

std::unique_ptr<Sequence> LanguageModel::open(std::int64_t positions) const {
  return std::make_unique<Sequence>(sizes_, heads_.most_entries(), positions);
}

// Text.

int LanguageModel::write(Sequence& sequence, const slm_sampling& sampling, float noise) const {
  if (!text_head_) {
    throw Failure(SLM_NOT_SUPPORTED, "this bundle has no text head; export it with --text-head");
  }
  check_sampling(sampling, noise);
  Sequence* const one = &sequence;
  const SequenceTurn turn({&one, 1});
  sequence.check_cancelled();
  sequence.require_hidden();
  read_in_turn(sequence, nullptr, 0);
  Loan loan(*this);
  Workspace& workspace = *loan;
  std::copy_n(sequence.hidden(), sizes_.hidden_size, workspace.text_input.row(0));
  team_.project(*text_head_, workspace.text_input, 1, {workspace.text_scores.data(), 0, false});
  const std::span<float> scores(workspace.text_scores.data(), workspace.text_scores.size());
  for (std::size_t token = 0; token < scores.size(); ++token) {
    if (never_written_[token]) scores[token] = -std::numeric_limits<float>::infinity();
  }
  return draw(*team_.kernels, scores, sampling, noise, workspace.text_draw);
}

// Speech.

void LanguageModel::step(std::span<Sequence* const> sequences, const slm_sampling* sampling,
                         const float* noise, std::int32_t* codes, slm_drawn* drawn) const {
  const std::size_t draws = heads_.draws();
  for (std::size_t row = 0; row < sequences.size(); ++row) {
    for (std::size_t head = 0; head < draws; ++head) {
      check_sampling(sampling[row], noise[row * draws + head]);
    }
  }
  const SequenceTurn turn(sequences);
  Stopwatch watch(step_times_.get());
  const Team team = team_.timed_by(watch);
  Loan loan(*this);
  for (Sequence* sequence : sequences) prepare_step(*sequence, *loan);
  for (std::size_t first = 0; first < sequences.size(); first += kBlockRows) {
    const std::size_t count = std::min<std::size_t>(kBlockRows, sequences.size() - first);
    step_block(team, sequences.subspan(first, count), sampling + first, noise + first * draws,
               codes + first * draws, drawn + first, *loan);
  }
  for (std::size_t row = 0; row < sequences.size(); ++row) {
    mark_seen(*sequences[row], {codes + row * draws, draws});
    sequences[row]->commit();
  }
  watch.finish();
}

void LanguageModel::prepare_step(Sequence& sequence, Workspace& workspace) const {
  sequence.check_cancelled();
  sequence.require_hidden();
  sequence.begin();
  const int more = sequence.has_embedding() ? 1 : 0;
  reserve(sequence, more, workspace);
  if (heads_.are_transformers()) sequence.reserve_heads(more);
}

void LanguageModel::step_block(const Team& team, std::span<Sequence* const> sequences,
                               const slm_sampling* sampling, const float* noise,
                               std::int32_t* codes, slm_drawn* drawn, Workspace& workspace) const {
  read_drawn(team, sequences, workspace);
  score(team, sequences, workspace);
  const int draws = heads_.draws();
  const int items = static_cast<int>(sequences.size()) * draws;
  const int pieces = team_.count_pieces(items, heads_.most_entries());
  team_.run(pieces, [&](int piece) {
    const auto [first, last] = Team::piece_of(items, pieces, piece);
    for (int item = first; item < last; ++item) {
      const int row = item / draws;
      codes[item] = draw_code(*sequences[row], row, item % draws, sampling[row], noise[item],
                              workspace, workspace.draws[piece]);
    }
  });
  for (std::size_t row = 0; row < sequences.size(); ++row) {
    const std::span<const std::int32_t> of_row(codes + row * draws, draws);
    drawn[row] = finish(*sequences[row], of_row);
  }
  team.laps.at(timed_drawing(sizes_, heads_)).lap(Timed::codes);
}

// What was drawn in the step before is read now.
void LanguageModel::read_drawn(const Team& team, std::span<Sequence* const> sequences,
                               Workspace& workspace) const {
  DecoderMemory& memory = workspace.decoder;
  int rows = 0;
  for (Sequence* sequence : sequences) {
    if (!sequence->has_embedding()) continue;
    fill_row(*sequence, memory, rows++, 0, sequence->embedding_.data(), true);
  }
  if (rows == 0) return;
  backbone_.run(team, memory, rows);
  rows = 0;
  for (Sequence* sequence : sequences) {
    if (!sequence->has_embedding()) continue;
    keep_hidden(*sequence, memory, rows++);
    ++sequence->next_.position;
  }
  team.laps.at(timed_final(sizes_, heads_)).lap(Timed::norm);
}

void LanguageModel::score(const Team& team, std::span<Sequence* const> sequences,
                          Workspace& workspace) const {
  for (std::size_t row = 0; row < sequences.size(); ++row) {
    Sequence& sequence = *sequences[row];
    const Sequence::State& next = sequence.next_;
    const bool has_read = next.position > sequence.state_.position;
    HeadRow& head_row = workspace.head_rows[row];
    head_row = {has_read ? sequence.next_hidden_.data() : sequence.hidden_.data(),
                1,
                next.slot,
                &sequence.head_cache_,
                next.heads_position,
                &sequence.is_cancelled_};
    if (heads_.are_transformers()) {
      head_row.hidden = sequence.unread(0);
      head_row.unread = next.position - next.heads_position;
    }
  }
  heads_.score(team, {workspace.head_rows.data(), sequences.size()}, workspace.heads,
               workspace.decoder);
}

int LanguageModel::draw_code(const Sequence& sequence, int row, int draw,
                             const slm_sampling& sampling, float noise, Workspace& workspace,
                             DrawMemory& memory) const {
  const int slot = sequence.next_.slot;
  const std::span<float> scores = workspace.heads.scores(row, draw, heads_.entries(draw, slot));
  penalize(scores, sequence.seen(seen_row(sequence, draw)), sampling.repetition_penalty);
  return slm::draw(*team_.kernels, scores, sampling, noise, memory);
}

slm_drawn LanguageModel::finish(Sequence& sequence, std::span<const std::int32_t> codes) const {
  Sequence::State& next = sequence.next_;
  const slm_drawn drawn = codes_.judge(codes, next.slot);
  codes_.embed(codes, next.slot, drawn, sequence.next_embedding_.data());
  next.has_embedding = true;
  next.heads_position = next.position;
  if (sizes_.is_next_token) next.slot = (next.slot + 1) % codes_.streams();
  return drawn;
}

int LanguageModel::seen_row(const Sequence& sequence, int draw) const {
  return sizes_.is_next_token ? sequence.state_.slot : draw;
}

void LanguageModel::mark_seen(Sequence& sequence, std::span<const std::int32_t> codes) const {
  for (int draw = 0; draw < static_cast<int>(codes.size()); ++draw) {
    sequence.seen(seen_row(sequence, draw))[codes[draw]] = 1;
  }
}

}  // namespace slm
