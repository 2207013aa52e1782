// See residual_unit.h.
#include "codec/residual_unit.h"

namespace slm {
namespace {

constexpr int kTaps = 7;
constexpr int kUnitRows = 32;  // that an activation works on at a time

}  // namespace

ResidualUnit::ResidualUnit(const Weights& weights, const std::string& name, int channels,
                           int dilation, bool is_alias_free)
    : first_(Activation(weights, name + ".snake_1", channels, is_alias_free),
             read_convolution(weights, name + ".conv_1", channels, channels, kTaps, dilation)),
      second_(weights, name + ".snake_2", channels, is_alias_free),
      project_(read_convolution(weights, name + ".conv_2", channels, channels, 1)) {}

ResidualUnit::State ResidualUnit::open() const {
  State state;
  state.first = first_.open();
  state.kept.resize(static_cast<std::size_t>(kept_rows()) * project_.matrix.channels);
  return state;
}

Position ResidualUnit::finishable(Position ready, Position length) const {
  const Position made = first_.makeable(first_.takeable(ready, length), length);
  return made >= length ? length : std::max<Position>(0, made - second_.reach());
}

std::size_t ResidualUnit::memory_bytes(int rows) const {
  const Matrix& matrix = project_.matrix;
  const std::size_t inner_rows = kept_rows() + first_.most_made(rows);
  return aligned(sizeof(float) * inner_rows * matrix.channels) +
         std::max(first_.memory_bytes(rows),
                  InputRows::memory_bytes(matrix.format, matrix.channels, rows));
}

void ResidualUnit::advance(const Workers& workers, State& state, const Signal& x, Position ready,
                           Position length, WorkingMemory& memory) const {
  const Position to = first_.takeable(ready, length), made = state.first.made;
  if (to == state.first.taken && to < length) return;
  const std::size_t mark = memory.mark(), channels = project_.matrix.channels;
  const std::size_t rows = kept_rows() + (first_.makeable(to, length) - made);
  const Signal inner{memory.take<float>(rows * channels), project_.matrix.channels,
                     made - kept_rows()};
  std::copy(state.kept.begin(), state.kept.end(), inner.data);
  first_.advance(workers, state.first, x, to, length, memory, inner);
  const Position finished = finishable(ready, length);
  project(workers, inner, x, state.finished, finished, length, memory);
  state.finished = finished;
  std::copy_n(inner.at(state.first.made - kept_rows()), state.kept.size(), state.kept.begin());
  memory.return_to(mark);
}

void ResidualUnit::project(const Workers& workers, const Signal& inner, const Signal& x,
                           Position from, Position to, Position length,
                           WorkingMemory& memory) const {
  const Matrix& matrix = project_.matrix;
  InputRows rows(matrix.format, matrix.channels, static_cast<int>(to - from), memory);
  workers.split(static_cast<int>(to - from), kUnitRows, [&](int first, int behind) {
    second_.apply(workers.kernels, inner, length, from + first, from + behind, matrix.input_scale,
                  rows, first);
    rows.multiply(workers.kernels, matrix, {first, 1, 1}, {behind - first, 0, matrix.panels()},
                  {x.at(from + first), x.stride, true});
  });
}

}  // namespace slm
