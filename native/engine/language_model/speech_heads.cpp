#include "language_model/speech_heads.h"

#include <algorithm>
#include <string>

namespace slm {
namespace {

// A head has its stream's codes, <eosp>, and in later frames the pad, if the model has one. How
// many entries these are stands in the file.
int count_entries(const Weights& weights, const std::string& name, int codes, bool may_have_pad) {
  const Json& matrix = weights.facts().at("matrices").at(name);
  return static_cast<int>(matrix.at("outputs").integer(codes + 1, codes + (may_have_pad ? 2 : 1)));
}

SpeechHead read_head(const Weights& weights, const ModelSizes& sizes, const SpeechCodes& codes,
                     int number, int first_timed) {
  const std::string prefix = "head." + std::to_string(number) + ".";
  const int hidden = sizes.hidden_size;
  SpeechHead head;
  int inputs = hidden;
  if (sizes.head_kind == HeadKind::mlp) {
    inputs = 2 * hidden;
    head.inner.push_back(weights.matrix(prefix + "inner", inputs, hidden));
  }
  if (sizes.head_kind == HeadKind::transformer) {
    head.decoder.emplace_back(weights, sizes, prefix + "layer.", sizes.head_layers,
                              number * sizes.head_layers, first_timed);
    head.norm_weight = weights.floats(prefix + "norm.weight", round_up(hidden, kPanel));
    head.norm_bias = weights.floats(prefix + "norm.bias", round_up(hidden, kPanel));
  }
  const bool may_have_pad = !sizes.is_next_token && number >= codes.streams();
  const int entries = count_entries(weights, prefix + "output",
                                    codes.codes_of(codes.stream_of(number)), may_have_pad);
  head.output = weights.matrix(prefix + "output", entries, inputs);
  return head;
}

ProductShape input_shape(const ModelSizes& sizes, const std::vector<SpeechHead>& heads) {
  ProductShape shape(sizes.hidden_size);
  for (const SpeechHead& head : heads) shape.add(head.inner.empty() ? head.output : head.inner[0]);
  return shape;
}

ProductShape inner_shape(const ModelSizes& sizes, const std::vector<SpeechHead>& heads) {
  ProductShape shape(sizes.head_kind == HeadKind::mlp ? 2 * sizes.hidden_size : 0);
  for (const SpeechHead& head : heads) {
    if (!head.inner.empty()) shape.add(head.output);
  }
  return shape;
}

void copy_hidden(const HeadRow& row, ProductRows& rows, int place) {
  std::copy_n(row.hidden, rows.stride(), rows.row(place));
}

}  // namespace

HeadMemory::HeadMemory(int rows, const ModelSizes& sizes, const SpeechHeads& heads)
    : draws_(heads.draws()),
      stride_(round_up(heads.most_entries(), kPanel)),
      input_(rows, input_shape(sizes, heads.heads())),
      inner_(rows, inner_shape(sizes, heads.heads())),
      of_turn_(sizes.is_next_token ? static_cast<std::size_t>(rows) * stride_ : 0),
      scores_(static_cast<std::size_t>(rows) * draws_ * stride_) {}

SpeechHeads::SpeechHeads(const Weights& weights, const ModelSizes& sizes, const SpeechCodes& codes)
    : sizes_(sizes) {
  const int count = sizes.is_next_token ? codes.streams() : sizes.heads;
  for (int number = 0; number < count; ++number) {
    const int timed = sizes.layers + count + number * sizes.head_layers;
    heads_.push_back(read_head(weights, sizes, codes, number, timed));
  }
}

int SpeechHeads::most_entries() const {
  int most = 0;
  for (const SpeechHead& head : heads_) most = std::max(most, head.output.outputs);
  return most;
}

std::int64_t SpeechHeads::bytes() const {
  std::int64_t sum = 0;
  for (const SpeechHead& head : heads_) {
    sum += bytes_of(head.output);
    for (const Matrix& inner : head.inner) sum += bytes_of(inner);
    for (const DecoderStack& decoder : head.decoder) sum += decoder.bytes();
  }
  return sizes_.is_next_token ? sum / static_cast<std::int64_t>(heads_.size()) : sum;
}

void SpeechHeads::score(const Team& team, std::span<const HeadRow> rows, HeadMemory& memory,
                        DecoderMemory& decoder) const {
  if (sizes_.is_next_token) return score_turns(team, rows, memory);
  const int count = static_cast<int>(rows.size());
  for (int row = 0; row < count && !are_transformers(); ++row)
    copy_hidden(rows[row], memory.input_, row);
  team.laps.lap(Timed::rest, 0);
  for (int number = 0; number < sizes_.heads; ++number) {
    const SpeechHead& head = heads_[number];
    const ProductRows* last = &memory.input_;
    const Laps laps = team.laps.at(timed_head(number));
    if (are_transformers()) {
      decode(team, head, rows, memory, decoder);
      laps.lap(Timed::norm);
    }
    if (!head.inner.empty()) {
      bend(team, head, count, memory);
      laps.lap(Timed::inner);
      last = &memory.inner_;
    }
    team.project(head.output, *last, count, memory.output(number));
    laps.lap(Timed::output);
  }
}

// Rows whose turn is the same stream share its product.
void SpeechHeads::score_turns(const Team& team, std::span<const HeadRow> rows,
                              HeadMemory& memory) const {
  const int count = static_cast<int>(rows.size());
  for (int turn = 0; turn < static_cast<int>(heads_.size()); ++turn) {
    int found = 0;
    for (int row = 0; row < count; ++row) {
      if (rows[row].slot == turn) copy_hidden(rows[row], memory.input_, found++);
    }
    if (found == 0) continue;
    const Output y{memory.of_turn_.data(), memory.stride_, false};
    team.project(heads_[turn].output, memory.input_, found, y);
    found = 0;
    for (int row = 0; row < count; ++row) {
      if (rows[row].slot != turn) continue;
      std::copy_n(y.data + found++ * y.stride, y.stride, memory.output(0).data + row * y.stride);
    }
    team.laps.at(timed_head(turn)).lap(Timed::output);
  }
}

// A transformer reads all that it has not read. What it makes of the last position, normed, becomes
// the input of its output layer.
void SpeechHeads::decode(const Team& team, const SpeechHead& head, std::span<const HeadRow> rows,
                         HeadMemory& memory, DecoderMemory& decoder) const {
  int waiting = 0;  // rows of the decoder
  int done = 0;
  const auto run = [&] {
    const int wanted = head.decoder[0].run(team, decoder, waiting);
    for (int row = 0; row < wanted; ++row) {
      team.kernels->layer_norm(decoder.x(row), head.norm_weight.data, head.norm_bias.data,
                               sizes_.rms_norm_epsilon, sizes_.hidden_size,
                               memory.input_.row(done++));
    }
    waiting = 0;
  };
  for (const HeadRow& row : rows) {
    for (int index = 0; index < row.unread; ++index) {
      if (waiting == decoder.most_rows()) run();
      std::copy_n(row.hidden + index * decoder.x_stride(), decoder.x_stride(), decoder.x(waiting));
      decoder.row(waiting++) = {row.cache, row.position + index, index == row.unread - 1,
                                row.is_cancelled};
    }
  }
  if (waiting > 0) run();
}

void SpeechHeads::bend(const Team& team, const SpeechHead& head, int count,
                       HeadMemory& memory) const {
  const Output y{memory.inner_.row(0), memory.inner_.stride(), false};
  team.project(head.inner[0], memory.input_, count, y);
  team.each(count, y.stride,
            [&](int row) { team.kernels->silu(memory.inner_.row(row), 2 * sizes_.hidden_size); });
}

}  // namespace slm
