// x + conv_2(act_2(conv_1(act_1(x)))), in place, on a signal that comes in parts.
//
// In: a signal whose first rows are known. Out: the same signal, its first rows replaced by the
// unit's. act_1 has by then read whatever it reads of a row that is replaced.
#pragma once

#include <string>
#include <vector>

#include "codec/activated_convolution.h"

namespace slm {

class ResidualUnit {
 public:
  struct State {
    ActivatedConvolution::State first;
    Position finished = 0;    // rows of x that are the unit's result
    std::vector<float> kept;  // rows of conv_1's result that act_2 still reads
  };

  ResidualUnit(const Weights& weights, const std::string& name, int channels, int dilation,
               bool is_alias_free);

  State open() const;
  // Rows of x that are kept back while the signal goes on.
  int lag() const { return 2 * second_.reach() + first_.convolution().before; }
  // Rows that are finished once `ready` rows of x are known.
  Position finishable(Position ready, Position length) const;
  std::size_t memory_bytes(int rows) const;
  // Formats of the unit's convolutions.
  Format first_format() const { return first_.convolution().matrix.format; }
  Format second_format() const { return project_.matrix.format; }

  // Advances as far as the first `ready` rows of x allow.
  void advance(const Workers& workers, State& state, const Signal& x, Position ready,
               Position length, WorkingMemory& memory) const;

 private:
  int kept_rows() const { return 2 * second_.reach(); }
  void project(const Workers& workers, const Signal& inner, const Signal& x, Position from,
               Position to, Position length, WorkingMemory& memory) const;

  ActivatedConvolution first_;
  Activation second_;
  Convolution project_;
};

}  // namespace slm
