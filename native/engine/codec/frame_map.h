// Layers on all frames of a recording at once, in float32.
//
// In and out: maps [frames][channels], channels filled up with zeros, and zero rows on both sides
// so that convolutions can read beyond the ends.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "codec/workers.h"
#include "weights/weights.h"

namespace slm {

class FrameMap {
 public:
  // All zero. margin: zero rows on each side.
  FrameMap(int frames, int channels, int margin = 0);

  int frames() const { return frames_; }
  int channels() const { return channels_; }  // without what fills them up
  int margin() const { return margin_; }
  std::ptrdiff_t stride() const { return stride_; }
  float* row(int frame) const { return data_.get() + (frame + margin_) * stride_; }

 private:
  struct Release {
    void operator()(float* data) const;
  };
  int frames_, channels_, margin_;
  std::ptrdiff_t stride_;
  std::unique_ptr<float, Release> data_;
};

// A convolution over time that keeps the number of frames, or a linear layer (one tap).
class FrameConvolution {
 public:
  // Throws Failure: not there, or of other sizes. has_bias: must have one.
  FrameConvolution(const Weights& weights, const std::string& name, int outputs, int channels,
                   int taps = 1, bool has_bias = true);

  int margin() const { return matrix_.taps / 2; }  // that the input must have
  void apply(const Workers& workers, const FrameMap& x, const FrameMap& y, bool add = false) const;

 private:
  Matrix matrix_;
};

// LayerNorm over channels.
class FrameNorm {
 public:
  FrameNorm(const Weights& weights, const std::string& name, int channels);
  void apply(const Workers& workers, const FrameMap& x, const FrameMap& y) const;

 private:
  const float* weight_;
  const float* bias_;
};

inline constexpr int kUnitFrames = 16;  // of a piece of work on single frames

// change(row) for every frame's channels.
template <typename Change>
void change_frames(const Workers& workers, const FrameMap& x, const Change& change) {
  workers.split(x.frames(), kUnitFrames, [&](int first, int behind) {
    for (int frame = first; frame < behind; ++frame) change(x.row(frame));
  });
}

}  // namespace slm
