// See layers.h.
#include "codec/layers.h"

#include <cmath>

#include "weights/sizes.h"

namespace slm {
namespace {

// Floats on the stack between an activation and its codes: at most, and so few that they stay in
// the first cache if that is not too few rows for an activation to work on.
constexpr int kBlockValues = 32 * 1024, kNearValues = 8 * 1024;
constexpr int kLeastRows = 32;
constexpr int kMostOutputs = 1 << 24;

int clamp_row(Position row) {
  constexpr Position kFar = 1 << 30;
  return static_cast<int>(std::clamp<Position>(row, -kFar, kFar));
}

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, "weights.safetensors: " + name + " " + what + "; export again");
}

Matrix read_matrix(const Weights& weights, const std::string& name, int outputs, int channels,
                   int taps, bool has_bias = true) {
  const Matrix matrix = weights.convolution(name, outputs, channels);
  if (matrix.taps != taps) {
    refuse(name, "has " + std::to_string(matrix.taps) + " taps, not " + std::to_string(taps));
  }
  if (has_bias && !matrix.bias) refuse(name, "has no bias");
  if (matrix.smoothing) refuse(name, "has a smoothing, which the codec does not take");
  return matrix;
}

Matrix read_kernel(const Weights& weights, const std::string& name, int outputs, int channels,
                   int taps) {
  const Matrix matrix = read_matrix(weights, name, outputs, channels, taps);
  if (matrix.format == Format::int4 || matrix.format == Format::fp16) {
    refuse(name, std::string("is in ") + format_name(matrix.format) +
                     ", which the codec does not take");
  }
  if (matrix.format == Format::int8) {
    if (matrix.scale_blocks != 1) refuse(name, "has more than one scale for an output");
    if (!(std::isfinite(matrix.input_scale) && matrix.input_scale > 0)) {
      refuse(name, "has no scale for its input");
    }
  }
  if (matrix.channels > kBlockValues) refuse(name, "has too many channels");
  return matrix;
}

}  // namespace

Activation::Activation(const Weights& weights, const std::string& name, int channels,
                       bool is_alias_free) {
  snake_.channels = round_up(channels, kPanel);
  snake_.frequency = weights.floats(name + ".frequency", snake_.channels).data;
  snake_.gain = weights.floats(name + ".gain", snake_.channels).data;
  if (!is_alias_free) return;
  snake_.up = weights.floats(name + ".up", kFilterTaps).data;
  snake_.down = weights.floats(name + ".down", kFilterTaps).data;
}

void Activation::apply(const Kernels& kernels, const Signal& x, Position length, Position from,
                       Position to, float scale, InputRows& rows, int first) const {
  const int channels = snake_.channels, count = static_cast<int>(to - from);
  if (rows.is_float()) {
    bend(kernels, x, length, from, count, rows.floats(first));
    return;
  }
  alignas(64) float block[kBlockValues];
  const int block_rows =
      std::max(kNearValues / channels, std::min(kLeastRows, kBlockValues / channels));
  for (int row = 0; row < count; row += block_rows) {
    const int some = std::min(block_rows, count - row);
    bend(kernels, x, length, from + row, some, block);
    rows.store(kernels, scale, first + row, block, some);
  }
}

void Activation::bend(const Kernels& kernels, const Signal& x, Position length, Position from,
                      int rows, float* y) const {
  const Position origin = from - reach();
  const SnakeRows input{x.at(origin), x.stride, clamp_row(-origin), clamp_row(length - 1 - origin)};
  kernels.snake(snake_, input, rows, y, snake_.channels);
}

Position Convolution::ready(Position received) const {
  const Position last = received - 1 + before - context();
  return last < 0 ? 0 : last / step + 1;
}

Position Convolution::total(Position length) const {
  const Position last = length - 1 + after + before - context();
  return last < 0 ? 0 : last / step + 1;
}

Position Convolution::result_rows(Position made, Position length) const {
  return std::clamp<Position>(made * ratio - crop, 0, result_length(length));
}

Position Convolution::result_length(Position length) const {
  if (length >= kOpenEnd) return kOpenEnd;
  return ratio > 1 ? length * ratio : total(length);
}

Convolution read_convolution(const Weights& weights, const std::string& name, int outputs,
                             int channels, int taps, int dilation) {
  Convolution layer;
  layer.matrix = read_kernel(weights, name, outputs, channels, taps);
  layer.channels = outputs;
  layer.dilation = dilation;
  layer.before = layer.after = (taps - 1) * dilation / 2;
  return layer;
}

Convolution read_upsampling(const Weights& weights, const std::string& name, int outputs,
                            int channels, int ratio) {
  if (outputs > kMostOutputs / ratio) refuse(name, "has too many outputs");
  Convolution layer;
  layer.matrix = read_kernel(weights, name, outputs * ratio, channels, 2);
  layer.channels = outputs;
  layer.before = layer.after = 1;
  layer.ratio = ratio;
  layer.crop = ratio / 2 + ratio % 2;
  return layer;
}

Convolution read_downsampling(const Weights& weights, const std::string& name, int outputs,
                              int channels, int ratio) {
  Convolution layer;
  layer.matrix = read_kernel(weights, name, outputs, channels, 2 * ratio);
  layer.channels = outputs;
  layer.step = ratio;
  layer.before = layer.after = ratio / 2 + ratio % 2;
  return layer;
}

Matrix read_float_matrix(const Weights& weights, const std::string& name, int outputs, int channels,
                         int taps, bool has_bias) {
  const Matrix matrix = read_matrix(weights, name, outputs, channels, taps, has_bias);
  if (matrix.format != Format::fp32) refuse(name, "must be in fp32");
  return matrix;
}

}  // namespace slm
