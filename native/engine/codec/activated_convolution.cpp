// See activated_convolution.h.
#include "codec/activated_convolution.h"

#include <cstring>

namespace slm {
namespace {

// That an activation works on at a time, computing some rows around them.
constexpr int kUnitRows = 32;

}  // namespace

ActivatedConvolution::ActivatedConvolution(std::optional<Activation> activation,
                                           Convolution convolution)
    : activation_(activation), convolution_(convolution) {}

ActivatedConvolution::State ActivatedConvolution::open() const {
  const Matrix& matrix = convolution_.matrix;
  State state;
  state.kept.resize(InputRows::kept_bytes(matrix.format, matrix.channels, convolution_.context()));
  return state;
}

Position ActivatedConvolution::takeable(Position ready, Position length) const {
  if (ready >= length) return length;
  return std::max<Position>(0, ready - (activation_ ? activation_->reach() : 0));
}

Position ActivatedConvolution::makeable(Position taken, Position length) const {
  return taken == length ? convolution_.total(length) : convolution_.ready(taken);
}

int ActivatedConvolution::most_made(int rows) const {
  return (rows + convolution_.context() + convolution_.after) / convolution_.step + 1;
}

std::size_t ActivatedConvolution::memory_bytes(int rows) const {
  const Matrix& matrix = convolution_.matrix;
  const std::size_t bytes = InputRows::memory_bytes(
      matrix.format, matrix.channels, convolution_.context() + rows + convolution_.after);
  if (!needs_repacking()) return bytes;
  return bytes + aligned(sizeof(float) * most_made(rows) * matrix.panels() * kPanel);
}

void ActivatedConvolution::advance(const Workers& workers, State& state, const Signal& x,
                                   Position to, Position length, WorkingMemory& memory,
                                   const Signal& result) const {
  const Matrix& matrix = convolution_.matrix;
  const int context = convolution_.context(), fresh = static_cast<int>(to - state.taken);
  const std::size_t mark = memory.mark();
  InputRows rows(matrix.format, matrix.channels, context + fresh + convolution_.after, memory);
  rows.restore(0, context, state.kept.data());
  fill(workers, state, x, to, length, rows);
  rows.clear(context + fresh, convolution_.after);
  const Position made = makeable(to, length);
  const Position first = state.made * convolution_.step - convolution_.before;
  multiply(workers, rows, static_cast<int>(first - (state.taken - context)), state.made,
           static_cast<int>(made - state.made), memory, result);
  rows.keep(fresh, context, state.kept.data());
  memory.return_to(mark);
  state.taken = to;
  state.made = made;
  state.has_ended = to == length;
}

void ActivatedConvolution::fill(const Workers& workers, const State& state, const Signal& x,
                                Position to, Position length, InputRows& rows) const {
  const int context = convolution_.context();
  const float scale = convolution_.matrix.input_scale;
  workers.split(static_cast<int>(to - state.taken), kUnitRows, [&](int from, int behind) {
    if (activation_) {
      activation_->apply(workers.kernels, x, length, state.taken + from, state.taken + behind,
                         scale, rows, context + from);
      return;
    }
    for (int row = from; row < behind; ++row) {
      rows.store(workers.kernels, scale, context + row, x.at(state.taken + row), 1);
    }
  });
}

bool ActivatedConvolution::needs_repacking() const {
  return convolution_.ratio > 1 && convolution_.channels % kPanel != 0;
}

void ActivatedConvolution::multiply(const Workers& workers, const InputRows& rows, int first,
                                    Position made, int count, WorkingMemory& memory,
                                    const Signal& result) const {
  if (needs_repacking()) {
    multiply_repacked(workers, rows, first, made, count, memory, result);
    return;
  }
  const Convolution& layer = convolution_;
  const Position begin = made * layer.ratio - layer.crop;
  const std::ptrdiff_t stride = layer.ratio * result.stride;
  workers.split_product(layer.matrix, count, [&](int row, Part part) {
    float* const output = result.at(begin + row * layer.ratio);
    rows.multiply(workers.kernels, layer.matrix,
                  {first + row * layer.step, layer.step, layer.dilation}, part, {output, stride});
    if (part.last_panel < layer.matrix.panels() || result.stride == layer.channels) return;
    for (int r = 0; r < part.rows; ++r) {
      std::fill(output + r * stride + layer.channels, output + (r + 1) * stride, 0.0f);
    }
  });
}

// The samples of an output row lie side by side without the zeros that fill channels up.
void ActivatedConvolution::multiply_repacked(const Workers& workers, const InputRows& rows,
                                             int first, Position made, int count,
                                             WorkingMemory& memory, const Signal& result) const {
  const Convolution& layer = convolution_;
  const std::ptrdiff_t width = layer.matrix.panels() * kPanel;
  float* const packed = memory.take<float>(count * width);
  workers.split_product(layer.matrix, count, [&](int row, Part part) {
    rows.multiply(workers.kernels, layer.matrix, {first + row, 1, 1}, part,
                  {packed + row * width, width});
  });
  for (int row = 0; row < count; ++row) {
    for (int sample = 0; sample < layer.ratio; ++sample) {
      const float* const from = packed + row * width + sample * layer.channels;
      float* const to = result.at((made + row) * layer.ratio - layer.crop + sample);
      std::copy_n(from, layer.channels, to);
      std::fill(to + layer.channels, to + result.stride, 0.0f);
    }
  }
}

}  // namespace slm
