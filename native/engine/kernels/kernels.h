// The kernels of the engine, and what they read and write.
//
// Every instruction set provides one `Kernels`: a table of functions. All do the same arithmetic in
// the same order, so they give the same bits wherever `docs/native-engine.md` promises it. A kernel
// computes what it is told to on the calling thread and allocates nothing. It knows no layers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cache_format.h"

namespace slm {

inline constexpr int kPanel = 16;  // outputs of a product that lie side by side; lanes of a vector
inline constexpr int kInt4Block = 32;  // inputs of one packed block of int4 codes

constexpr int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr int count_panels(int outputs) { return (outputs + kPanel - 1) / kPanel; }

enum class Format : std::uint8_t { fp32, bf16, fp16, int8, int4 };

// Weights of one product, packed in panels of 16 outputs (docs/native-engine.md). Memory belongs to
// `Weights`, is aligned to 64 bytes, and is never written.
struct Matrix {
  Format format = Format::fp32;
  int outputs = 0;
  int inputs = 0;  // of one row, taps * channels
  int channels = 0;  // of one tap, including zeros that fill it up: a multiple of 16
  int taps = 1;
  int block = 0;  // int8, int4: inputs that share a scale of the row; `inputs` if all do
  int scale_blocks = 0;  // int8, int4: scales of each output: 1, or inputs / block
  const void* codes = nullptr;  // [panels][inputs / group][16][group]; fp16: group = 1
  const std::uint16_t* scales = nullptr;  // float16 [panels][scale_blocks][16]
  const float* bias = nullptr;  // [panels * 16], or null
  const float* smoothing = nullptr;  // [inputs], inputs are multiplied by it; or null
  float gain = 1.0f;  // the product is multiplied by it, before the bias: a power of two
  float input_scale = 0.0f;  // int8 convolutions: of the input's codes

  int panels() const { return count_panels(outputs); }
};

// Inputs of a product: row r has taps * channels values, value t * channels + c of it is
// data[r * row_stride + t * tap_stride + c]. A plain product has one tap; a convolution reads
// neighbouring rows. channels is a multiple of 16 (Matrix::inputs = taps * channels).
template <typename Value>
struct Rows {
  const Value* data = nullptr;
  std::ptrdiff_t row_stride = 0;
  int channels = 0;
  int taps = 1;
  std::ptrdiff_t tap_stride = 0;
};
using FloatRows = Rows<float>;
using HalfRows = Rows<std::uint16_t>;  // bfloat16

// Rows in int8 with a scale for each block of each row, for products of the language model.
struct BlockRows {
  std::int8_t* codes = nullptr;  // [rows][inputs]
  float* scales = nullptr;  // [rows][inputs / block]
  std::int32_t* sums = nullptr;  // [rows][inputs / block], sums of the codes
  int inputs = 0;
  int block = 0;
};

// Rows in int8 with one scale for all, for convolutions of the codec.
struct ScaledRows {
  Rows<std::int8_t> rows;
  const std::int32_t* sums = nullptr;  // of each row's codes of one tap, at row_stride / tap_stride
  std::ptrdiff_t row_sum_stride = 1;  // steps in `sums` from row to row
  std::ptrdiff_t tap_sum_stride = 1;  // and from tap to tap
  float scale = 1.0f;
};

// Where a product goes: row r, output n -> data[r * stride + n], for the outputs there are.
struct Output {
  float* data = nullptr;
  std::ptrdiff_t stride = 0;
  bool add = false;  // to what is there: x + (product + bias)
};

// A part of a product: rows 0 … rows - 1, panels first_panel … last_panel - 1.
struct Part {
  int rows = 0;
  int first_panel = 0;
  int last_panel = 0;
};

// One attention of `group` query heads over one key/value head of one sequence.
//
// Keys and values lie in panels of 16 positions, as `format` says. A query sees positions
// 0 … length - 1.
struct Attention {
  const float* query = nullptr;  // [group][head_dim], rotated and divided by sqrt(head_dim)
  std::ptrdiff_t query_stride = 0;
  const void* keys = nullptr;
  const void* values = nullptr;
  float* output = nullptr;  // [group][head_dim]
  std::ptrdiff_t output_stride = 0;
  float* scratch = nullptr;  // [group][round_up(length, 16)]
  int group = 0;
  int head_dim = 0;  // a multiple of 2; need not be one of 16
  int length = 0;
  CacheFormat format = CacheFormat::float32;
};

// SnakeBeta, x + gain * sin(frequency * x)^2, of rows of channels (both padded to 16).
struct Snake {
  const float* frequency = nullptr;  // [channels] e^alpha
  const float* gain = nullptr;  // [channels] 1 / (e^beta + 1e-9)
  const float* up = nullptr;  // [12], times 2; null for the plain activation
  const float* down = nullptr;  // [12]
  int channels = 0;  // a multiple of 16
};

// Rows of a signal, and which of them are its ends. Row 0 of `data` is `5` rows before the first row
// of the output if the activation is alias-free. Rows before `first` and behind `last` are not read:
// the signal repeats its end rows there, and so does the signal of twice the rate.
struct SnakeRows {
  const float* data = nullptr;
  std::ptrdiff_t stride = 0;
  int first = 0;  // may be negative: not among these rows
  int last = 0;  // may lie behind them
};

struct Kernels {
  const char* name;

  // y (+)= gain · x · Wᵀ + bias. Sums run over the inputs in order, one fused multiply-add each.
  void (*multiply)(const Matrix&, const FloatRows&, const Output&, Part);  // fp32, bf16, fp16
  // bf16 weights and inputs, for the codec. The order of sums is the processor's own.
  void (*multiply_half)(const Matrix&, const HalfRows&, const Output&, Part);
  // int8 and int4 weights: exact sums of each block, scaled and added in the order of the blocks.
  void (*multiply_blocks)(const Matrix&, const BlockRows&, const Output&, Part);
  // int8 weights: one exact sum over all inputs, then scaled.
  void (*multiply_scaled)(const Matrix&, const ScaledRows&, const Output&, Part);

  // x · smoothing in int8: each block of each row by the largest magnitude in it (127), as ONNX
  // Runtime's MatMulNBits does. x: [rows][stride], its last `inputs - valid` columns count as zero.
  void (*quantize_blocks)(const float* x, std::ptrdiff_t stride, int rows, int valid,
                          const float* smoothing, const BlockRows& out);
  // int8 codes of x / scale, nearest, ties to even, and the sum of each row's codes.
  void (*quantize_scaled)(const float* x, std::ptrdiff_t stride, int rows, int channels,
                          float scale, std::int8_t* codes, std::int32_t* sums);
  void (*to_half)(const float* x, std::uint16_t* y, std::size_t count);  // bfloat16, ties to even

  void (*rms_norm)(const float* x, const float* weight, float epsilon, int count, float* y);
  // y = silu(gate) · up, of gate_up [2 * count].
  void (*silu_product)(const float* gate_up, int count, float* y);
  void (*silu)(float* x, int count);
  // LayerNorm without parameters, then y = normed · scale + shift.
  void (*layer_norm)(const float* x, const float* scale, const float* shift, float epsilon,
                     int count, float* y);
  void (*softmax)(float* x, int count);  // in place
  // Rotate heads [heads][head_dim]: halves (x, y) -> (x cos - y sin, y cos + x sin).
  void (*rotate)(float* x, int heads, int head_dim, const float* cosines, const float* sines);
  // A position's key and value go into the cache. No other position's bytes are touched.
  void (*store_position)(const float* key, const float* value, int head_dim, int position,
                         CacheFormat format, void* keys, void* values);
  void (*attend)(const Attention&);

  // Rows 0 … rows - 1 of the activation: y[r * stride + c].
  void (*snake)(const Snake&, const SnakeRows&, int rows, float* y, std::ptrdiff_t stride);
};

// The tables of this build, fastest first, those only that the processor can run.
struct KernelList {
  const Kernels* tables[8];
  int count;
};
const KernelList& usable_kernels();
// By name, or the fastest for null. Null if there is none of that name.
const Kernels* find_kernels(const char* name);

}  // namespace slm
