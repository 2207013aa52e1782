// See stage.h.
#include "codec/stage.h"

namespace slm {
namespace {

constexpr std::size_t kLeastPieceRows = 16, kMostPieceRows = 4096;
constexpr Timed kUnits[] = {Timed::unit_0, Timed::unit_1, Timed::unit_2};

}  // namespace

Stage::Stage(ActivatedConvolution entry, std::vector<ResidualUnit> units, int stride, int reach,
             std::size_t piece_bytes)
    : entry_(std::move(entry)),
      units_(std::move(units)),
      stride_(stride),
      reach_(reach),
      piece_rows_(static_cast<int>(
          std::clamp(piece_bytes / bytes_of_row(), kLeastPieceRows, kMostPieceRows))) {}

Stage::State Stage::open() const {
  State state;
  state.entry = entry_.open();
  for (const ResidualUnit& unit : units_) state.units.push_back(unit.open());
  state.kept_begin = -entry_.convolution().crop;
  state.kept.resize(static_cast<std::size_t>(most_kept()) * stride_);
  return state;
}

Position Stage::finishable(Position ready, Position length) const {
  const Position made = entry_.makeable(entry_.takeable(ready, length), length);
  Position finished = entry_.convolution().result_rows(made, length);
  for (const ResidualUnit& unit : units_) {
    finished = unit.finishable(finished, result_length(length));
  }
  return finished;
}

bool Stage::can_advance(const State& state, Position ready, Position length) const {
  if (state.entry.has_ended) return false;
  return entry_.takeable(ready, length) > state.entry.taken || ready >= length;
}

std::size_t Stage::signal_bytes() const {
  return aligned(sizeof(float) * (most_rows() + reach_) * stride_);
}

std::size_t Stage::scratch_bytes() const {
  std::size_t bytes = entry_.memory_bytes(piece_rows_);
  for (const ResidualUnit& unit : units_) bytes = std::max(bytes, unit.memory_bytes(most_rows()));
  return bytes;
}

Signal Stage::begin_piece(const State& state, WorkingMemory& memory) const {
  // An activation's first rows are said to begin `reach` rows earlier, and are not read there.
  float* const data = memory.take<float>(static_cast<std::size_t>(most_rows() + reach_) * stride_);
  const Signal signal{data + static_cast<std::ptrdiff_t>(reach_) * stride_, stride_,
                      state.kept_begin};
  std::copy_n(state.kept.begin(), static_cast<std::size_t>(state.kept_rows) * stride_, signal.data);
  return signal;
}

Position Stage::advance(const Workers& workers, State& state, const Signal& x, Position ready,
                        Position length, WorkingMemory& memory, const Signal& signal) const {
  const Position to = std::min(entry_.takeable(ready, length), state.entry.taken + piece_rows_);
  entry_.advance(workers, state.entry, x, to, length, memory, signal);
  workers.laps.lap(Timed::convolution);
  Position finished = entry_.convolution().result_rows(state.entry.made, length);
  for (std::size_t unit = 0; unit < units_.size(); ++unit) {
    units_[unit].advance(workers, state.units[unit], signal, finished, result_length(length),
                         memory);
    finished = state.units[unit].finished;
    workers.laps.lap(kUnits[unit]);
  }
  return finished;
}

void Stage::end_piece(State& state, const Signal& signal, Position finished) const {
  const Convolution& layer = entry_.convolution();
  const Position end = state.entry.made * layer.ratio - layer.crop;
  const Position begin = std::max(signal.begin, std::min(finished - 2 * reach_, end));
  state.kept_begin = begin;
  state.kept_rows = static_cast<int>(end - begin);
  std::copy_n(signal.at(begin), (end - begin) * stride_, state.kept.begin());
}

int Stage::most_kept() const {
  int rows = 2 * reach_ + entry_.convolution().ratio;
  for (const ResidualUnit& unit : units_) rows += unit.lag();
  return rows;
}

int Stage::most_rows() const {
  return most_kept() + entry_.most_made(piece_rows_) * entry_.convolution().ratio;
}

std::size_t Stage::bytes_of_row() const {
  const std::size_t row = static_cast<std::size_t>(stride_) * sizeof(float);
  const std::size_t signals = units_.empty() ? 1 : 3;  // the stage's own, and two between layers
  const Convolution& layer = entry_.convolution();
  return std::max<std::size_t>(1, signals * row * layer.ratio / layer.step);
}

}  // namespace slm
