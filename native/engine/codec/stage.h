// A stage of the codec: a convolution that changes the signal's rate, and three residual units.
//
// In: a signal that comes in parts. Out: the stage's signal, whose rows are finished as far as the
// input allows. A stage takes its input in pieces that are small enough for the signals between its
// layers to stay in a processor's cache, and large enough to read its weights rarely.
#pragma once

#include <vector>

#include "codec/residual_unit.h"

namespace slm {

class Stage {
 public:
  struct State {
    ActivatedConvolution::State entry;
    std::vector<ResidualUnit::State> units;
    Position kept_begin = 0;
    int kept_rows = 0;
    std::vector<float> kept;  // rows of the stage's signal that something still reads
  };

  // stride: floats from row to row of the stage's signal. reach: of the activation that reads it.
  Stage(ActivatedConvolution entry, std::vector<ResidualUnit> units, int stride, int reach,
        std::size_t piece_bytes);

  State open() const;
  int stride() const { return stride_; }
  int piece_rows() const { return piece_rows_; }
  Position result_length(Position length) const {
    return entry_.convolution().result_length(length);
  }
  // Finished rows once `ready` rows of the input are known, of `length`.
  Position finishable(Position ready, Position length) const;

  // Whether anything can be done when `ready` rows of the input are known.
  bool can_advance(const State& state, Position ready, Position length) const;
  // Working memory of a piece: of its signal, and of what is needed while it is computed.
  std::size_t signal_bytes() const;
  std::size_t scratch_bytes() const;

  // The stage's signal for the next piece, with what was kept of the last one.
  Signal begin_piece(const State& state, WorkingMemory& memory) const;
  // Takes the next piece of x. Returns how many rows of `signal` are finished.
  Position advance(const Workers& workers, State& state, const Signal& x, Position ready,
                   Position length, WorkingMemory& memory, const Signal& signal) const;
  // Keeps what is still read of the signal.
  void end_piece(State& state, const Signal& signal, Position finished) const;

 private:
  int most_kept() const;
  int most_rows() const;             // of the signal in a piece
  std::size_t bytes_of_row() const;  // of all signals of the stage, for a row of its input

  ActivatedConvolution entry_;
  std::vector<ResidualUnit> units_;
  int stride_;
  int reach_;
  int piece_rows_;
};

}  // namespace slm
