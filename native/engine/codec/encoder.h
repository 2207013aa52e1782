// The codec's encoder: a recording in, frames and a speaker out.
//
// FACodec (NaturalSpeech 3, arXiv 2403.03100). All of a recording is seen at once, because the
// encoders of prosody and of the speaker attend to all of it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "codec/content_encoder.h"
#include "codec/log_mel.h"
#include "codec/transformer_encoder.h"

namespace slm {

// A codebook: which of its entries points in a latent's direction.
class Codebook {
 public:
  Codebook(const Weights& weights, int stream, const CodecSizes& sizes);

  // Codes of all frames, codes[frame * step]. The lowest of equals.
  void find(const Workers& workers, const FrameMap& latents, std::int32_t* codes, int step) const;
  // Takes away from the latents what the codes explain.
  void subtract(const Workers& workers, const FrameMap& latents, const std::int32_t* codes,
                int step) const;

 private:
  int size_, channels_;
  FrameConvolution project_, directions_;
  const float* vectors_;  // [codes][channels of a latent, filled up]
};

class Encoder {
 public:
  Encoder(const Weights& weights, const CodecSizes& sizes, std::size_t piece_bytes);

  struct Result {
    std::vector<std::int32_t> frames;  // [frames][streams]
    std::vector<float> speaker;        // [latent channels]
  };
  // audio: checked sizes.
  Result encode(const Workers& workers, const float* audio, int samples) const;

 private:
  FrameMap prosody_latents(const Workers& workers, const FrameMap& mel, int frames) const;
  std::vector<float> speaker_of(const Workers& workers, const FrameMap& latents) const;

  int latent_channels_, prosody_bins_, content_books_;
  LogMel log_mel_;
  std::optional<WaveformEncoder> waveform_;  // this one,
  std::optional<MelEncoder> mel_;            // or this one
  FrameConvolution prosody_input_;
  TransformerEncoder prosody_, speaker_;
  std::vector<Codebook> books_;
};

}  // namespace slm
