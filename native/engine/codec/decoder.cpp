// See decoder.h.
#include "codec/decoder.h"

#include <cmath>

namespace slm {
namespace {

constexpr int kEndTaps = 7;
constexpr int kDilations[] = {1, 3, 9};
constexpr float kNormEpsilon = 1e-5f;
constexpr int kCallFrames = 64;  // that are embedded at a time

std::vector<Stage> read_stages(const Weights& weights, const CodecSizes& sizes,
                               std::size_t piece_bytes) {
  const bool is_alias_free = sizes.is_alias_free;
  const int reach = is_alias_free ? kAliasFreeReach : 0;
  const std::string decoder = "codec.decoder.";
  std::vector<Stage> stages;
  const auto add = [&](ActivatedConvolution entry, std::vector<ResidualUnit> units, int stride) {
    stages.emplace_back(std::move(entry), std::move(units), stride, reach, piece_bytes);
  };
  int channels = sizes.decoder_channels;
  add({std::nullopt,
       read_convolution(weights, decoder + "first", channels, sizes.latent_channels, kEndTaps)},
      {}, round_up(channels, kPanel));
  for (std::size_t index = 0; index < sizes.decoder_ratios.size(); ++index) {
    const std::string name = decoder + std::to_string(index);
    Activation activation(weights, name + ".snake", channels, is_alias_free);
    const int inputs = channels;
    channels /= 2;
    std::vector<ResidualUnit> units;
    for (int unit = 0; unit < 3; ++unit) {
      units.emplace_back(weights, name + ".unit." + std::to_string(unit), channels,
                         kDilations[unit], is_alias_free);
    }
    add({activation,
         read_upsampling(weights, name + ".up", channels, inputs, sizes.decoder_ratios[index])},
        std::move(units), round_up(channels, kPanel));
  }
  add({Activation(weights, decoder + "snake", channels, is_alias_free),
       read_convolution(weights, decoder + "last", 1, channels, kEndTaps)},
      {}, 1);
  return stages;
}

}  // namespace

Decoder::Decoder(const Weights& weights, const CodecSizes& sizes, std::size_t piece_bytes)
    : latent_channels_(sizes.latent_channels),
      latent_stride_(round_up(sizes.latent_channels, kPanel)),
      timbre_(read_float_matrix(weights, "codec.timbre", 2 * sizes.latent_channels,
                                sizes.speaker_channels())),
      chain_(read_stages(weights, sizes, piece_bytes)) {
  for (std::size_t stream = 0; stream < sizes.streams.size(); ++stream) {
    const std::size_t values = static_cast<std::size_t>(sizes.streams[stream]) * latent_stride_;
    vectors_.push_back(weights.floats("codec.vectors." + std::to_string(stream), values).data);
  }
}

Decoder::State Decoder::open(const Kernels& kernels, const float* speaker) const {
  std::vector<float> input(timbre_.inputs, 0.0f), style(timbre_.panels() * kPanel, 0.0f);
  std::copy_n(speaker, latent_channels_, input.begin());
  kernels.multiply(timbre_, {input.data(), timbre_.inputs, timbre_.inputs},
                   {style.data(), static_cast<std::ptrdiff_t>(style.size())},
                   {1, 0, timbre_.panels()});
  const auto shift = style.begin() + latent_channels_;
  return {chain_.open(), {{style.begin(), shift}, {shift, shift + latent_channels_}}};
}

Position Decoder::final_samples(Position frames, bool is_last) const {
  return frames == 0 ? 0 : chain_.finishable(frames, is_last ? frames : kOpenEnd);
}

std::size_t Decoder::memory_bytes() const {
  return aligned(sizeof(float) * kCallFrames * latent_stride_) + chain_.memory_bytes();
}

void Decoder::decode(const Workers& workers, State& state, const std::int32_t* frames, int count,
                     bool is_last, WorkingMemory& memory, float* audio) const {
  const Position last = state.frames + count;
  const std::ptrdiff_t streams = static_cast<std::ptrdiff_t>(vectors_.size());
  const std::size_t mark = memory.mark();
  Signal latents{memory.take<float>(static_cast<std::size_t>(kCallFrames) * latent_stride_),
                 latent_stride_, 0};
  do {
    const int some = static_cast<int>(std::min<Position>(kCallFrames, last - state.frames));
    latents.begin = state.frames;
    for (int frame = 0; frame < some; ++frame, frames += streams) {
      embed(workers.kernels, state.timbre, frames, latents.at(state.frames + frame));
    }
    workers.at(0).laps.lap(Timed::latents);
    state.frames += some;
    if (state.frames == 0) break;
    const Position length = is_last && state.frames == last ? last : kOpenEnd;
    chain_.advance(workers, state.chain, latents, state.frames, length, memory,
                   [&](const Signal& signal, Position from, Position to) {
                     for (Position sample = from; sample < to; ++sample) {
                       *audio++ = std::tanh(*signal.at(sample));
                     }
                   });
  } while (state.frames < last);
  memory.return_to(mark);
  state.has_ended = is_last;
}

void Decoder::embed(const Kernels& kernels, const Timbre& timbre, const std::int32_t* frame,
                    float* latent) const {
  std::fill(latent, latent + latent_stride_, 0.0f);
  for (std::size_t stream = 0; stream < vectors_.size(); ++stream) {
    const float* const vector =
        vectors_[stream] + static_cast<std::ptrdiff_t>(frame[stream]) * latent_stride_;
    for (int channel = 0; channel < latent_channels_; ++channel) latent[channel] += vector[channel];
  }
  kernels.layer_norm(latent, timbre.scale.data(), timbre.shift.data(), kNormEpsilon,
                     latent_channels_, latent);
}

}  // namespace slm
