// See frame_map.h.
#include "codec/frame_map.h"

#include <algorithm>
#include <new>

#include "codec/layers.h"

namespace slm {
namespace {

constexpr std::align_val_t kRowAlignment{64};
constexpr float kNormEpsilon = 1e-5f;

}  // namespace

FrameMap::FrameMap(int frames, int channels, int margin)
    : frames_(frames),
      channels_(channels),
      margin_(margin),
      stride_(round_up(channels, kPanel)),
      data_(static_cast<float*>(
          ::operator new(static_cast<std::size_t>(frames + 2 * margin) * stride_ * sizeof(float),
                         kRowAlignment))) {
  std::fill_n(data_.get(), static_cast<std::size_t>(frames + 2 * margin) * stride_, 0.0f);
}

void FrameMap::Release::operator()(float* data) const { ::operator delete(data, kRowAlignment); }

FrameConvolution::FrameConvolution(const Weights& weights, const std::string& name, int outputs,
                                   int channels, int taps, bool has_bias)
    : matrix_(read_float_matrix(weights, name, outputs, channels, taps, has_bias)) {}

void FrameConvolution::apply(const Workers& workers, const FrameMap& x, const FrameMap& y,
                             bool add) const {
  workers.split_product(matrix_, x.frames(), [&](int row, Part part) {
    workers.kernels.multiply(
        matrix_, {x.row(row - margin()), x.stride(), matrix_.channels, matrix_.taps, x.stride()},
        {y.row(row), y.stride(), add}, part);
  });
}

FrameNorm::FrameNorm(const Weights& weights, const std::string& name, int channels)
    : weight_(weights.floats(name + ".weight", round_up(channels, kPanel)).data),
      bias_(weights.floats(name + ".bias", round_up(channels, kPanel)).data) {}

void FrameNorm::apply(const Workers& workers, const FrameMap& x, const FrameMap& y) const {
  workers.split(x.frames(), kUnitFrames, [&](int first, int behind) {
    for (int frame = first; frame < behind; ++frame) {
      workers.kernels.layer_norm(x.row(frame), weight_, bias_, kNormEpsilon, x.channels(),
                                 y.row(frame));
    }
  });
}

}  // namespace slm
