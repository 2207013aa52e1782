// See content_encoder.h.
#include "codec/content_encoder.h"

namespace slm {
namespace {

constexpr int kEndTaps = 7, kLastTaps = 3, kMelTaps = 5;
constexpr int kMelUnits = 3;
constexpr int kDilations[] = {1, 3, 9};
constexpr int kPieceSamples = 4096;  // of audio that are laid out at a time
const std::string kEncoder = "codec.encoder.";

std::vector<ResidualUnit> read_units(const Weights& weights, const std::string& name, int channels,
                                     bool is_alias_free) {
  std::vector<ResidualUnit> units;
  for (int unit = 0; unit < 3; ++unit) {
    units.emplace_back(weights, name + ".unit." + std::to_string(unit), channels, kDilations[unit],
                       is_alias_free);
  }
  return units;
}

std::vector<Stage> read_stages(const Weights& weights, const CodecSizes& sizes,
                               std::size_t piece_bytes) {
  const bool is_alias_free = sizes.is_alias_free;
  const int reach = is_alias_free ? kAliasFreeReach : 0;
  const std::size_t count = sizes.encoder_ratios.size();
  int channels = sizes.encoder_channels;
  std::vector<Stage> stages;
  const auto add = [&](ActivatedConvolution entry, std::vector<ResidualUnit> units) {
    const int stride = round_up(entry.convolution().channels, kPanel);
    stages.emplace_back(std::move(entry), std::move(units), stride, reach, piece_bytes);
  };
  add({std::nullopt, read_convolution(weights, kEncoder + "first", channels, 1, kEndTaps)},
      read_units(weights, kEncoder + "0", channels, is_alias_free));
  for (std::size_t index = 0; index < count; ++index) {
    const std::string name = kEncoder + std::to_string(index);
    Activation activation(weights, name + ".snake", channels, is_alias_free);
    const int inputs = channels;
    channels *= 2;
    ActivatedConvolution entry(activation, read_downsampling(weights, name + ".down", channels,
                                                             inputs, sizes.encoder_ratios[index]));
    const std::string next = kEncoder + std::to_string(index + 1);
    add(std::move(entry), index + 1 == count ? std::vector<ResidualUnit>{}
                                             : read_units(weights, next, channels, is_alias_free));
  }
  add({Activation(weights, kEncoder + "snake", channels, is_alias_free),
       read_convolution(weights, kEncoder + "last", sizes.latent_channels, channels, kLastTaps)},
      {});
  return stages;
}

}  // namespace

WaveformEncoder::WaveformEncoder(const Weights& weights, const CodecSizes& sizes,
                                 std::size_t piece_bytes)
    : latent_channels_(sizes.latent_channels), chain_(read_stages(weights, sizes, piece_bytes)) {}

FrameMap WaveformEncoder::encode(const Workers& workers, const float* audio, int samples) const {
  FrameMap latents(static_cast<int>(chain_.finishable(samples, samples)), latent_channels_);
  WorkingMemory memory(chain_.memory_bytes() + sizeof(float) * kPieceSamples * kPanel);
  Signal input{memory.take<float>(kPieceSamples * kPanel), kPanel, 0};
  std::fill_n(input.data, kPieceSamples * kPanel, 0.0f);
  StageChain::State state = chain_.open();
  for (int sample = 0; sample < samples;) {
    input.begin = sample;
    const int end = std::min(samples, sample + kPieceSamples);
    for (; sample < end; ++sample) *input.at(sample) = audio[sample];
    chain_.advance(workers, state, input, end, samples, memory,
                   [&](const Signal& signal, Position from, Position to) {
                     std::copy_n(signal.at(from), (to - from) * signal.stride,
                                 latents.row(static_cast<int>(from)));
                   });
  }
  return latents;
}

MelEncoder::MelEncoder(const Weights& weights, const CodecSizes& sizes)
    : channels_(sizes.encoder_channels),
      latent_channels_(sizes.latent_channels),
      first_(weights, kEncoder + "first", channels_, sizes.mel_bins, kMelTaps),
      last_(weights, kEncoder + "last", latent_channels_, channels_) {
  for (int unit = 0; unit < kMelUnits; ++unit) {
    const std::string name = kEncoder + std::to_string(unit);
    units_.push_back(
        {FrameNorm(weights, name + ".norm", channels_),
         FrameConvolution(weights, name + ".expand", 2 * channels_, channels_, kMelTaps),
         FrameConvolution(weights, name + ".project", channels_, 2 * channels_)});
  }
}

FrameMap MelEncoder::encode(const Workers& workers, const FrameMap& mel) const {
  const int frames = mel.frames();
  const FrameMap x(frames, channels_), normed(frames, channels_, kMelTaps / 2);
  const FrameMap inner(frames, 2 * channels_);
  first_.apply(workers, mel, x);
  for (const Unit& unit : units_) {
    unit.norm.apply(workers, x, normed);
    unit.expand.apply(workers, normed, inner);
    change_frames(workers, inner, [&](float* row) { workers.kernels.silu(row, inner.channels()); });
    unit.project.apply(workers, inner, x, true);
  }
  FrameMap latents(frames, latent_channels_);
  last_.apply(workers, x, latents);
  return latents;
}

}  // namespace slm
