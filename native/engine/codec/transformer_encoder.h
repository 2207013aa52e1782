// The codec's transformer encoder, of prosody and of the speaker: pre-norm layers that attend over
// all frames of a recording.
//
// In and out: maps of frames of the same size.
#pragma once

#include <string>
#include <vector>

#include "codec/frame_map.h"
#include "weights/sizes.h"

namespace slm {

class TransformerEncoder {
 public:
  TransformerEncoder(const Weights& weights, const std::string& name, const CodecSizes& sizes);

  // In place of x, but for the last norm.
  FrameMap encode(const Workers& workers, const FrameMap& x) const;

 private:
  struct Layer {
    FrameNorm norm_1, norm_2;
    FrameConvolution attention_in, attention_output, ffn_1, ffn_2;
  };
  struct Room;  // maps that every layer uses again

  void attend(const Workers& workers, const FrameMap& packed, const FrameMap& attended,
              Room& room) const;

  int channels_, heads_, inner_channels_;
  std::vector<Layer> layers_;
  FrameNorm norm_;
};

}  // namespace slm
