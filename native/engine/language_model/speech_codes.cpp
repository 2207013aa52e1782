#include "language_model/speech_codes.h"

#include <algorithm>
#include <bit>

namespace slm {
namespace {

constexpr int kEnd = 0;  // special entries, counted from the codes of a stream, or of all
constexpr int kPad = 1;

float widen(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7fffu;
  const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;  // exact, subnormals too
  const std::uint32_t special = magnitude >= 0x7c00u ? 0x7f80'0000u : 0u;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | special | sign);
}

}  // namespace

SpeechCodes::SpeechCodes(const Weights& weights, const ModelSizes& sizes)
    : sizes_(sizes.streams), width_(sizes.hidden_size) {
  for (const int size : sizes_) {
    offsets_.push_back(total_);
    total_ += size;
  }
  const std::size_t rows = total_ + (sizes.is_next_token ? 1 : 2);
  if (weights.is_half("code_embeddings")) {
    halves_ = weights.halves("code_embeddings", rows * width_);
  } else {
    floats_ = weights.floats("code_embeddings", rows * width_);
  }
}

slm_drawn SpeechCodes::judge(std::span<const std::int32_t> codes, int first_stream) const {
  int kept = static_cast<int>(codes.size());
  for (int place = static_cast<int>(codes.size()) - 1; place >= 0; --place) {
    const int special = codes[place] - codes_of(stream_of(first_stream + place));
    if (special == kEnd) return {0, 1};
    if (special == kPad) kept = place / streams() * streams();
  }
  return {kept, 0};
}

void SpeechCodes::embed(std::span<const std::int32_t> codes, int first_stream,
                        const slm_drawn& drawn, float* embedding) const {
  std::fill_n(embedding, width_, 0.0f);
  if (drawn.stop) return add_row(total_ + kEnd, embedding);
  const int count = static_cast<int>(codes.size());
  for (int place = 0; place < count; ++place) {
    const int stream = stream_of(first_stream + place);
    add_row(place < drawn.kept ? row_of(stream, codes[place]) : total_ + kPad, embedding);
  }
  if (count == 1) return;
  for (int channel = 0; channel < width_; ++channel)
    embedding[channel] /= static_cast<float>(count);
}

std::int64_t SpeechCodes::bytes_of(int codes) const {
  return std::int64_t{codes} * width_ * (halves_ ? 2 : 4);
}

int SpeechCodes::row_of(int stream, int code) const {
  const int size = codes_of(stream);
  return code < size ? offsets_[stream] + code : total_ + code - size;
}

void SpeechCodes::add_row(int row, float* sum) const {
  const std::size_t begin = static_cast<std::size_t>(row) * width_;
  if (halves_) {
    const std::uint16_t* values = halves_.data + begin;
    for (int channel = 0; channel < width_; ++channel) sum[channel] += widen(values[channel]);
  } else {
    const float* values = floats_.data + begin;
    for (int channel = 0; channel < width_; ++channel) sum[channel] += values[channel];
  }
}

}  // namespace slm
