// See transformer_encoder.h.
#include "codec/transformer_encoder.h"

#include <cmath>

namespace slm {
namespace {

constexpr int kFfnTaps = 5;
constexpr int kQueries = 8;  // frames whose attention shares each load of keys and values

}  // namespace

struct TransformerEncoder::Room {
  Room(int frames, int channels, int heads, int inner_channels, int pieces)
      : normed(frames, channels, kFfnTaps / 2),
        packed(frames, 3 * channels),
        attended(frames, channels),
        inner(frames, inner_channels),
        keys(heads, round_up(frames, kPanel) * (channels / heads)),
        values(heads, frames * (channels / heads)),
        scores(pieces, kQueries * round_up(frames, kPanel)) {}

  FrameMap normed, packed, attended, inner;
  FrameMap keys, values;  // a row for each head
  FrameMap scores;        // a row for each piece of work
};

TransformerEncoder::TransformerEncoder(const Weights& weights, const std::string& name,
                                       const CodecSizes& sizes)
    : channels_(sizes.latent_channels),
      heads_(sizes.transformer_heads),
      inner_channels_(sizes.transformer_ffn_channels),
      norm_(weights, name + ".norm", channels_) {
  const int inner = inner_channels_;
  for (int index = 0; index < sizes.transformer_layers; ++index) {
    const std::string layer = name + "." + std::to_string(index);
    layers_.push_back({FrameNorm(weights, layer + ".norm_1", channels_),
                       FrameNorm(weights, layer + ".norm_2", channels_),
                       FrameConvolution(weights, layer + ".attention_in", 3 * channels_, channels_),
                       FrameConvolution(weights, layer + ".attention_output", channels_, channels_),
                       FrameConvolution(weights, layer + ".ffn_1", inner, channels_, kFfnTaps),
                       FrameConvolution(weights, layer + ".ffn_2", channels_, inner)});
  }
}

FrameMap TransformerEncoder::encode(const Workers& workers, const FrameMap& x) const {
  // Published code indexes its table of positions by batch item instead of frame, and the weights
  // expect that: row 0 at every frame, which is 0, 1, 0, 1 ….
  change_frames(workers, x, [&](float* row) {
    for (int channel = 1; channel < channels_; channel += 2) row[channel] += 1.0f;
  });
  Room room(x.frames(), channels_, heads_, inner_channels_, workers.most_pieces());
  for (const Layer& layer : layers_) {
    layer.norm_1.apply(workers, x, room.normed);
    layer.attention_in.apply(workers, room.normed, room.packed);
    attend(workers, room.packed, room.attended, room);
    layer.attention_output.apply(workers, room.attended, x, true);
    layer.norm_2.apply(workers, x, room.normed);
    layer.ffn_1.apply(workers, room.normed, room.inner);
    change_frames(workers, room.inner, [&](float* row) {
      for (int channel = 0; channel < inner_channels_; ++channel) {
        row[channel] = std::max(row[channel], 0.0f);
      }
    });
    layer.ffn_2.apply(workers, room.inner, x, true);
  }
  FrameMap y(x.frames(), channels_);
  norm_.apply(workers, x, y);
  return y;
}

void TransformerEncoder::attend(const Workers& workers, const FrameMap& packed,
                                const FrameMap& attended, Room& room) const {
  const int frames = packed.frames(), width = channels_ / heads_;
  const float factor = static_cast<float>(std::pow(static_cast<double>(width), -0.5));
  change_frames(workers, packed, [&](float* row) {
    for (int channel = 0; channel < channels_; ++channel) row[channel] *= factor;
  });
  workers.split(heads_, 1, [&](int first, int behind) {
    for (int head = first; head < behind; ++head) {
      for (int frame = 0; frame < frames; ++frame) {
        const float* const key = packed.row(frame) + channels_ + head * width;
        workers.kernels.store_position(key, key + channels_, width, frame, CacheFormat::float32,
                                       room.keys.row(head), room.values.row(head));
      }
    }
  });
  const int blocks = (frames + kQueries - 1) / kQueries;
  workers.split_numbered(heads_ * blocks, 4, [&](int piece, int first, int behind) {
    for (int block = first; block < behind; ++block) {
      const int head = block / blocks, frame = block % blocks * kQueries;
      workers.kernels.attend(
          {packed.row(frame) + head * width, packed.stride(), room.keys.row(head),
           room.values.row(head), attended.row(frame) + head * width, attended.stride(),
           room.scores.row(piece), std::min(kQueries, frames - frame), width, frames,
           CacheFormat::float32});
    }
  });
}

}  // namespace slm
