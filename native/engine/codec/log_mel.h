// Log-mel analysis of a recording: a product with a windowed Fourier basis, then with the mel
// basis.
//
// In: audio. Out: frames of log magnitudes, one for each hop.
#pragma once

#include <cstddef>

#include "codec/frame_map.h"
#include "weights/sizes.h"

namespace slm {

inline constexpr int kMelMargin = 2;  // zero rows around the frames, for a convolution of five taps

class LogMel {
 public:
  LogMel(const Weights& weights, const CodecSizes& sizes);

  // audio: at least n_fft / 2 samples. The mirrored audio continues beyond both ends.
  FrameMap analyse(const Workers& workers, const float* audio, int samples) const;

 private:
  int hop_samples_, window_samples_, bins_;
  int frequencies_;
  Matrix fourier_;
  FrameConvolution basis_;
};

}  // namespace slm
