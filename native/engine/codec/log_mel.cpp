// See log_mel.h.
#include "codec/log_mel.h"

#include <cmath>
#include <vector>

#include "codec/layers.h"

namespace slm {
namespace {

constexpr float kLogFloor = 1e-5f, kPowerFloor = 1e-9f;
const std::string kFourier = "codec.mel.fourier";

// Only frequencies that the mel basis uses are stored; the matrix itself says how many.
int read_frequencies(const Weights& weights, const CodecSizes& sizes) {
  const Json& matrix = weights.facts().at("matrices").at(kFourier);
  const std::int64_t outputs = matrix.at("outputs").integer(2, sizes.n_fft + 2);
  return static_cast<int>(outputs / 2);
}

std::vector<float> mirror(const float* audio, int samples, int margin, int behind) {
  std::vector<float> mirrored(static_cast<std::size_t>(samples) + 2 * margin + behind, 0.0f);
  std::copy_n(audio, samples, mirrored.begin() + margin);
  for (int i = 1; i <= margin; ++i) {
    mirrored[margin - i] = audio[i];
    mirrored[margin + samples - 1 + i] = audio[samples - 1 - i];
  }
  return mirrored;
}

}  // namespace

LogMel::LogMel(const Weights& weights, const CodecSizes& sizes)
    : hop_samples_(sizes.hop_samples),
      window_samples_(sizes.window_samples),
      bins_(sizes.content_encoder == ContentEncoder::mel ? sizes.mel_bins : sizes.prosody_bins),
      frequencies_(read_frequencies(weights, sizes)),
      fourier_(read_float_matrix(weights, kFourier, 2 * frequencies_, window_samples_, 1, false)),
      basis_(weights, "codec.mel.basis", bins_, frequencies_, 1, false) {}

FrameMap LogMel::analyse(const Workers& workers, const float* audio, int samples) const {
  const int margin = (window_samples_ - hop_samples_) / 2;
  const std::vector<float> mirrored = mirror(audio, samples, margin, fourier_.inputs);
  const int frames = (samples + 2 * margin - window_samples_) / hop_samples_ + 1;
  const FrameMap waves(frames, 2 * frequencies_), magnitudes(frames, frequencies_);
  workers.split_product(fourier_, frames, [&](int row, Part part) {
    const float* const window = mirrored.data() + static_cast<std::ptrdiff_t>(row) * hop_samples_;
    workers.kernels.multiply(fourier_, {window, hop_samples_, fourier_.inputs},
                             {waves.row(row), waves.stride()}, part);
  });
  for (int frame = 0; frame < frames; ++frame) {
    const float* const real = waves.row(frame);
    const float* const imaginary = real + frequencies_;
    float* const magnitude = magnitudes.row(frame);
    for (int f = 0; f < frequencies_; ++f) {
      magnitude[f] = std::sqrt(real[f] * real[f] + imaginary[f] * imaginary[f] + kPowerFloor);
    }
  }
  FrameMap mel(frames, bins_, kMelMargin);
  basis_.apply(workers, magnitudes, mel);
  change_frames(workers, mel, [&](float* row) {
    for (int bin = 0; bin < bins_; ++bin) row[bin] = std::log(std::max(row[bin], kLogFloor));
  });
  return mel;
}

}  // namespace slm
