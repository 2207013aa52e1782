// See encoder.h.
#include "codec/encoder.h"

namespace slm {
namespace {

FrameMap copy_of(const FrameMap& x) {
  FrameMap copy(x.frames(), x.channels());
  std::copy_n(x.row(0), x.frames() * x.stride(), copy.row(0));
  return copy;
}

}  // namespace

Codebook::Codebook(const Weights& weights, int stream, const CodecSizes& sizes)
    : size_(sizes.streams[stream]),
      channels_(sizes.codebook_channels),
      project_(weights, "codec.book." + std::to_string(stream) + ".project", channels_,
               sizes.latent_channels),
      directions_(weights, "codec.book." + std::to_string(stream) + ".directions", size_, channels_,
                  1, false) {
  const std::size_t values =
      static_cast<std::size_t>(size_) * round_up(sizes.latent_channels, kPanel);
  vectors_ = weights.floats("codec.vectors." + std::to_string(stream), values).data;
}

void Codebook::find(const Workers& workers, const FrameMap& latents, std::int32_t* codes,
                    int step) const {
  const FrameMap projected(latents.frames(), channels_), scores(latents.frames(), size_);
  project_.apply(workers, latents, projected);
  directions_.apply(workers, projected, scores);
  for (int frame = 0; frame < latents.frames(); ++frame, codes += step) {
    const float* const row = scores.row(frame);
    *codes = static_cast<std::int32_t>(std::max_element(row, row + size_) - row);
  }
}

void Codebook::subtract(const Workers& workers, const FrameMap& latents, const std::int32_t* codes,
                        int step) const {
  workers.split(latents.frames(), kUnitFrames, [&](int first, int behind) {
    for (int frame = first; frame < behind; ++frame) {
      const std::ptrdiff_t code = codes[static_cast<std::ptrdiff_t>(frame) * step];
      const float* const vector = vectors_ + code * latents.stride();
      float* const latent = latents.row(frame);
      for (int channel = 0; channel < latents.channels(); ++channel) {
        latent[channel] -= vector[channel];
      }
    }
  });
}

Encoder::Encoder(const Weights& weights, const CodecSizes& sizes, std::size_t piece_bytes)
    : latent_channels_(sizes.latent_channels),
      prosody_bins_(sizes.prosody_bins),
      content_books_(sizes.content_codebooks),
      log_mel_(weights, sizes),
      prosody_input_(weights, "codec.prosody.input", latent_channels_, prosody_bins_),
      prosody_(weights, "codec.prosody", sizes),
      speaker_(weights, "codec.speaker", sizes) {
  if (sizes.content_encoder == ContentEncoder::mel) {
    mel_.emplace(weights, sizes);
  } else {
    waveform_.emplace(weights, sizes, piece_bytes);
  }
  for (std::size_t stream = 0; stream < sizes.streams.size(); ++stream) {
    books_.emplace_back(weights, static_cast<int>(stream), sizes);
  }
}

Encoder::Result Encoder::encode(const Workers& workers, const float* audio, int samples) const {
  const FrameMap mel = log_mel_.analyse(workers, audio, samples);
  const FrameMap content =
      mel_ ? mel_->encode(workers, mel) : waveform_->encode(workers, audio, samples);
  const FrameMap prosody = prosody_latents(workers, mel, content.frames());
  const int streams = static_cast<int>(books_.size());
  Result result;
  result.speaker = speaker_of(workers, content);
  result.frames.resize(static_cast<std::size_t>(content.frames()) * streams);
  for (int stream = 0; stream < streams; ++stream) {
    const FrameMap& latents = stream < content_books_ ? content : prosody;
    std::int32_t* const codes = result.frames.data() + stream;
    books_[stream].find(workers, latents, codes, streams);
    books_[stream].subtract(workers, latents, codes, streams);
  }
  return result;
}

// The lowest mel bins, with zeros for the frames that the mel analysis lacks.
FrameMap Encoder::prosody_latents(const Workers& workers, const FrameMap& mel, int frames) const {
  const FrameMap low(frames, prosody_bins_), latents(frames, latent_channels_);
  for (int frame = 0; frame < std::min(frames, mel.frames()); ++frame) {
    std::copy_n(mel.row(frame), prosody_bins_, low.row(frame));
  }
  prosody_input_.apply(workers, low, latents);
  return prosody_.encode(workers, latents);
}

// The mean over time.
std::vector<float> Encoder::speaker_of(const Workers& workers, const FrameMap& latents) const {
  const FrameMap timbre = speaker_.encode(workers, copy_of(latents));
  std::vector<double> sums(latent_channels_, 0.0);
  for (int frame = 0; frame < timbre.frames(); ++frame) {
    for (int channel = 0; channel < latent_channels_; ++channel) {
      sums[channel] += timbre.row(frame)[channel];
    }
  }
  std::vector<float> speaker(latent_channels_);
  for (int channel = 0; channel < latent_channels_; ++channel) {
    speaker[channel] = static_cast<float>(sums[channel] / timbre.frames());
  }
  return speaker;
}

}  // namespace slm
