// The codec's content encoder: a recording in, latents out, one for each frame.
//
// Of the waveform (FACodec's), or of its log-mel (a small one for training without a GPU).
#pragma once

#include <memory>
#include <vector>

#include "codec/frame_map.h"
#include "codec/stage_chain.h"
#include "weights/sizes.h"

namespace slm {

class WaveformEncoder {
 public:
  WaveformEncoder(const Weights& weights, const CodecSizes& sizes, std::size_t piece_bytes);
  FrameMap encode(const Workers& workers, const float* audio, int samples) const;

 private:
  int latent_channels_;
  StageChain chain_;
};

class MelEncoder {
 public:
  MelEncoder(const Weights& weights, const CodecSizes& sizes);
  // mel: with a margin of kMelMargin.
  FrameMap encode(const Workers& workers, const FrameMap& mel) const;

 private:
  struct Unit {
    FrameNorm norm;
    FrameConvolution expand, project;
  };

  int channels_, latent_channels_;
  FrameConvolution first_, last_;
  std::vector<Unit> units_;
};

}  // namespace slm
