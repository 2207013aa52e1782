// An activation and the convolution that reads it, on a signal that comes in parts.
//
// In: rows of a signal as they become known. Out: the result's rows that depend on no later ones;
// at the signal's end the rest. Whatever the parts, the same bits: a row is computed once, from the
// same inputs. The activation's output lies in working memory in the format of the weights; what
// later rows read of it is kept in the state.
#pragma once

#include <optional>
#include <vector>

#include "codec/layers.h"
#include "codec/workers.h"

namespace slm {

class ActivatedConvolution {
 public:
  struct State {
    Position taken = 0;  // input rows that the activation is done with
    Position made = 0;   // output rows
    bool has_ended = false;
    std::vector<std::byte> kept;  // the activation's last `context` rows
  };

  ActivatedConvolution(std::optional<Activation> activation, Convolution convolution);

  const Convolution& convolution() const { return convolution_; }
  State open() const;
  // The input rows that can be taken when `ready` of them are known, of `length`.
  Position takeable(Position ready, Position length) const;
  // Output rows made once so many input rows are taken.
  Position makeable(Position taken, Position length) const;
  // Of working memory to take `rows` rows at once, and the output rows that they can bring.
  std::size_t memory_bytes(int rows) const;
  int most_made(int rows) const;

  // Takes the rows up to `to` of x, a signal of `length` rows, and writes all rows of the result
  // that they bring. Rows that an upsampling cuts off are written as well.
  void advance(const Workers& workers, State& state, const Signal& x, Position to, Position length,
               WorkingMemory& memory, const Signal& result) const;

 private:
  bool needs_repacking() const;
  void fill(const Workers& workers, const State& state, const Signal& x, Position to,
            Position length, InputRows& rows) const;
  void multiply(const Workers& workers, const InputRows& rows, int first, Position made, int count,
                WorkingMemory& memory, const Signal& result) const;
  void multiply_repacked(const Workers& workers, const InputRows& rows, int first, Position made,
                         int count, WorkingMemory& memory, const Signal& result) const;

  std::optional<Activation> activation_;
  Convolution convolution_;
};

}  // namespace slm
