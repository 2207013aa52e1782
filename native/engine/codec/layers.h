// Layers of the codec without their state: activations and convolutions, with their weights.
//
// In: the weights' names and sizes, checked here. Out: what a layer is, and how its rows depend on
// its input's. Errors are `Failure`s. It knows neither pieces nor threads.
#pragma once

#include <algorithm>
#include <string>

#include "codec/input_rows.h"
#include "codec/signal.h"
#include "kernels/kernels.h"
#include "weights/weights.h"

namespace slm {

inline constexpr int kAliasFreeReach = 5;  // rows on each side that an output row depends on
inline constexpr int kFilterTaps = 12;

// SnakeBeta, plain or alias-free, of so many channels.
class Activation {
 public:
  Activation(const Weights& weights, const std::string& name, int channels, bool is_alias_free);

  int reach() const { return snake_.up ? kAliasFreeReach : 0; }
  // Rows `from` … `to` - 1 of the activation of x, a signal of `length` rows, into `rows` of a
  // convolution from row `first` on. scale: of int8 codes.
  void apply(const Kernels& kernels, const Signal& x, Position length, Position from, Position to,
             float scale, InputRows& rows, int first) const;

 private:
  void bend(const Kernels& kernels, const Signal& x, Position length, Position from, int rows,
            float* y) const;

  Snake snake_;
};

// A convolution of a signal. Output row q, tap t reads input row q * step + t * dilation - before;
// rows outside the signal are zero. An output row of `ratio` > 1 is that many rows of the result
// side by side, of which the first `crop` are cut off.
struct Convolution {
  Matrix matrix;
  int channels = 0;  // of the result
  int dilation = 1;
  int step = 1;
  int before = 0;
  int after = 0;  // zeros behind the signal that its last rows read
  int ratio = 1;
  int crop = 0;

  // Input rows that an output row spans, less one: what a piece needs of those before it.
  int context() const { return (matrix.taps - 1) * dilation; }
  // Output rows that depend on the first `received` input rows only.
  Position ready(Position received) const;
  // Output rows of a signal of `length` rows.
  Position total(Position length) const;
  // Rows of the result that the first `made` output rows are, of a signal of `length` rows.
  Position result_rows(Position made, Position length) const;
  Position result_length(Position length) const;
};

// Keeps the length: an odd number of taps.
Convolution read_convolution(const Weights& weights, const std::string& name, int outputs,
                             int channels, int taps, int dilation = 1);
// A transposed convolution of 2 * ratio taps, as two taps and `ratio` times as many outputs.
Convolution read_upsampling(const Weights& weights, const std::string& name, int outputs,
                            int channels, int ratio);
// A strided convolution of 2 * ratio taps.
Convolution read_downsampling(const Weights& weights, const std::string& name, int outputs,
                              int channels, int ratio);
// A matrix that is in float32 at every precision of the codec, as everything but the decoder's
// convolutions is.
Matrix read_float_matrix(const Weights& weights, const std::string& name, int outputs, int channels,
                         int taps = 1, bool has_bias = true);

}  // namespace slm
