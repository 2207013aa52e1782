// Products of a table of kernels against the documented order of sums, one output at a time.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "packed_matrix.h"

namespace slm {
namespace {

constexpr float kUntouched = 12345.0f;

std::string described(const Kernels& kernels, const Matrix& m, int rows) {
  char text[160];
  std::snprintf(text, sizeof text,
                "%s: format %d, outputs %d, channels %d, taps %d, block %d, rows %d", kernels.name, static_cast<int>(m.format), m.outputs, m.channels, m.taps, m.block,
                rows);
  return text;
}

// y as `multiply` left it, against want(row, output), in bits or within `tolerance`; nothing else
// in y may have changed.
template <typename Want>
void check_output(const std::vector<float>& y, std::ptrdiff_t stride, int rows, const Matrix& m,
                  int first, int last, float tolerance, const std::string& name, Want want) {
  for (int r = 0; r < rows; ++r) {
    for (int n = 0; n < stride; ++n) {
      const float got = y[static_cast<std::size_t>(r * stride + n)];
      if (n < first * kPanel || n >= std::min(last * kPanel, m.outputs)) {
        CHECK(got == kUntouched, name.c_str());
        continue;
      }
      const float wanted = want(r, n);
      if (tolerance == 0) {
        CHECK(std::memcmp(&got, &wanted, 4) == 0, name.c_str());
      } else {
        CHECK(std::fabs(got - wanted) <= tolerance, name.c_str());
      }
    }
  }
}

// Calls multiply(output, part) on two parts, as two threads would.
template <typename Multiply>
void in_two_parts(int rows, int first, int last, const Output& output,
                  Multiply multiply) {
  const int middle = first + (last - first) / 2;
  multiply(output, Part{rows, first, middle});
  multiply(output, Part{rows, middle, last});
}

struct Shape {
  MatrixSizes sizes;
  int rows;
  int first, last;  // panels
  bool add;
  int row_gap;  // values between rows, beside the channels
};

Shape random_shape(Random& random, Format format, bool is_convolution) {
  Shape shape;
  shape.sizes.format = format;
  shape.sizes.outputs = random.integer(1, 90);
  shape.sizes.channels = 16 * random.integer(1, 8);
  shape.sizes.taps = is_convolution ? random.integer(1, 7) : 1;
  shape.sizes.has_bias = random.integer(0, 3) > 0;
  shape.sizes.gain = std::ldexp(1.0f, random.integer(-2, 3));
  shape.rows = random.integer(1, 40);
  const int panels = count_panels(shape.sizes.outputs);
  shape.first = random.integer(0, panels - 1);
  shape.last = random.integer(shape.first + 1, panels);
  shape.add = random.integer(0, 1) == 1;
  shape.row_gap = 16 * random.integer(0, 2);
  return shape;
}

// Rows of a signal [time][channels + gap], read by taps `dilation` rows apart.
struct Signal {
  std::ptrdiff_t row_stride, tap_stride;
  std::size_t values;

  Signal(const Shape& shape, Random& random) {
    const int dilation = random.integer(1, 3), width = shape.sizes.channels + shape.row_gap;
    row_stride = width * random.integer(1, 2);
    tap_stride = std::ptrdiff_t{dilation} * width;
    values = static_cast<std::size_t>((shape.rows - 1) * row_stride +
                                      (shape.sizes.taps - 1) * tap_stride + shape.sizes.channels);
  }
  std::size_t at(int row, const Matrix& m, int input) const {
    return static_cast<std::size_t>(row * row_stride + input / m.channels * tap_stride +
                                    input % m.channels);
  }
};

float finished(const Matrix& m, float sum, int output, bool add) {
  const float y = m.bias ? std::fma(m.gain, sum, m.bias[output]) : m.gain * sum;
  return add ? kUntouched + y : y;
}

void test_floats(const Kernels& kernels, Format format, Random& random) {
  const Shape shape = random_shape(random, format, true);
  const PackedMatrix packed(shape.sizes, random);
  const Matrix& m = packed.matrix;
  const Signal signal(shape, random);
  const std::vector<float> x = random.reals(signal.values);
  const std::ptrdiff_t stride = m.outputs + random.integer(0, 5);
  std::vector<float> y(static_cast<std::size_t>(shape.rows * stride), kUntouched);
  const FloatRows rows{x.data(), signal.row_stride, m.channels, m.taps, signal.tap_stride};
  in_two_parts(shape.rows, shape.first, shape.last, {y.data(), stride, shape.add},
               [&](const Output& output, Part part) { kernels.multiply(m, rows, output, part); });
  check_output(y, stride, shape.rows, m, shape.first, shape.last, 0,
               described(kernels, m, shape.rows), [&](int r, int n) {
                 float sum = 0;
                 for (int k = 0; k < m.inputs; ++k) {
                   sum = std::fma(x[signal.at(r, m, k)], packed.weight(n, k), sum);
                 }
                 return finished(m, sum, n, shape.add);
               });
}

// The order of sums is the processor's own; but a row alone gives the same bits.
void test_halves(const Kernels& kernels, Random& random) {
  const Shape shape = random_shape(random, Format::bf16, true);
  const PackedMatrix packed(shape.sizes, random);
  const Matrix& m = packed.matrix;
  const Signal signal(shape, random);
  std::vector<std::uint16_t> x(signal.values);
  for (std::uint16_t& value : x) value = bfloat_from_float(random.real(-1, 1));
  const std::ptrdiff_t stride = m.outputs;
  std::vector<float> y(static_cast<std::size_t>(shape.rows * stride), kUntouched), alone = y;
  const HalfRows rows{x.data(), signal.row_stride, m.channels, m.taps, signal.tap_stride};
  in_two_parts(shape.rows, shape.first, shape.last, {y.data(), stride, false},
               [&](const Output& out, Part part) { kernels.multiply_half(m, rows, out, part); });
  const std::string name = described(kernels, m, shape.rows);
  check_output(y, stride, shape.rows, m, shape.first, shape.last, 2e-4f * m.gain, name,
               [&](int r, int n) {
                 double sum = 0;
                 for (int k = 0; k < m.inputs; ++k) {
                   sum += double{float_from_bfloat(x[signal.at(r, m, k)])} * packed.weight(n, k);
                 }
                 return finished(m, static_cast<float>(sum), n, false);
               });
  for (int r = 0; r < shape.rows; ++r) {
    HalfRows one = rows;
    one.data += r * signal.row_stride;
    kernels.multiply_half(m, one, {alone.data() + r * stride, stride, false},
                          {1, shape.first, shape.last});
  }
  CHECK(std::memcmp(alone.data(), y.data(), y.size() * sizeof(float)) == 0, name.c_str());
}

void test_blocks(const Kernels& kernels, Format format, Random& random, bool is_extreme,
                 int least_code) {
  Shape shape = random_shape(random, format, false);
  shape.sizes.block = 32 * random.integer(1, 4);
  shape.sizes.channels = shape.sizes.block * random.integer(1, 9);
  shape.sizes.has_block_scales = random.integer(0, 1) == 1;
  PackedMatrix packed(shape.sizes, random);
  if (is_extreme) packed.set_codes(random.integer(0, 1) ? 0xff : 0x00);
  const Matrix& m = packed.matrix;
  const int blocks = m.inputs / m.block;
  std::vector<std::int8_t> codes(static_cast<std::size_t>(shape.rows) * m.inputs);
  for (std::int8_t& code : codes) {
    code = static_cast<std::int8_t>(is_extreme ? (random.integer(0, 9) ? 127 : least_code)
                                               : random.integer(least_code, 127));
  }
  std::vector<float> scales = random.reals(static_cast<std::size_t>(shape.rows) * blocks, 0, 0.1f);
  std::vector<std::int32_t> sums(scales.size(), 0);
  for (std::size_t i = 0; i < codes.size(); ++i) sums[i / m.block] += codes[i];
  const BlockRows rows{codes.data(), scales.data(), sums.data(), m.inputs, m.block};
  const std::ptrdiff_t stride = m.outputs + random.integer(0, 5);
  std::vector<float> y(static_cast<std::size_t>(shape.rows * stride), kUntouched);
  in_two_parts(shape.rows, shape.first, shape.last, {y.data(), stride, shape.add},
               [&](const Output& out, Part part) { kernels.multiply_blocks(m, rows, out, part); });
  check_output(y, stride, shape.rows, m, shape.first, shape.last, 0,
               described(kernels, m, shape.rows), [&](int r, int n) {
                 float sum = 0;
                 for (int b = 0; b < blocks; ++b) {
                   int exact = 0;
                   for (int k = b * m.block; k < (b + 1) * m.block; ++k) {
                     exact += codes[static_cast<std::size_t>(r) * m.inputs + k] *
                              static_cast<int>(packed.weight(n, k));
                   }
                   const float of_row = scales[static_cast<std::size_t>(r) * blocks + b];
                   const float scale = m.scale_blocks > 1 ? of_row * packed.scale(n, b) : of_row;
                   sum = std::fma(static_cast<float>(exact), scale, sum);
                 }
                 if (m.scale_blocks == 1) sum *= packed.scale(n, 0);
                 return finished(m, sum, n, shape.add);
               });
}

void test_scaled(const Kernels& kernels, Random& random, bool is_extreme, int least_code) {
  Shape shape = random_shape(random, Format::int8, true);
  shape.sizes.gain = 1;
  PackedMatrix packed(shape.sizes, random);
  if (is_extreme) packed.set_codes(random.integer(0, 1) ? 0xff : 0x00);
  const Matrix& m = packed.matrix;
  const int dilation = random.integer(1, 9), stride_rows = random.integer(1, 2);
  const int times = (shape.rows - 1) * stride_rows + (m.taps - 1) * dilation + 1;
  std::vector<std::int8_t> x(static_cast<std::size_t>(times) * m.channels);
  std::vector<std::int32_t> sums(static_cast<std::size_t>(times), 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<std::int8_t>(is_extreme ? least_code : random.integer(least_code, 127));
    sums[i / m.channels] += x[i];
  }
  const float scale = random.real(0.001f, 0.1f);
  const ScaledRows rows{{x.data(), std::ptrdiff_t{stride_rows} * m.channels, m.channels, m.taps,
                         std::ptrdiff_t{dilation} * m.channels},
                        sums.data(), stride_rows, dilation, scale};
  const std::ptrdiff_t stride = m.outputs;
  std::vector<float> y(static_cast<std::size_t>(shape.rows * stride), kUntouched);
  in_two_parts(shape.rows, shape.first, shape.last, {y.data(), stride, shape.add},
               [&](const Output& out, Part part) { kernels.multiply_scaled(m, rows, out, part); });
  check_output(y, stride, shape.rows, m, shape.first, shape.last, 0,
               described(kernels, m, shape.rows), [&](int r, int n) {
                 int exact = 0;
                 for (int k = 0; k < m.inputs; ++k) {
                   const int time = r * stride_rows + k / m.channels * dilation;
                   exact += x[static_cast<std::size_t>(time) * m.channels + k % m.channels] *
                            static_cast<int>(packed.weight(n, k));
                 }
                 const float product = std::fma(static_cast<float>(exact),
                                                scale * packed.scale(n, 0),
                                                m.bias ? m.bias[n] : 0.0f);
                 return shape.add ? kUntouched + product : product;
               });
}

// least_code: of the inputs, -127 … 127.
void test_table(const Kernels& kernels, int least_code = -127) {
  Random random(1);
  for (int round = 0; round < 60; ++round) {
    test_floats(kernels, Format::fp32, random);
    test_floats(kernels, Format::bf16, random);
    test_floats(kernels, Format::fp16, random);
    test_halves(kernels, random);
    for (const Format format : {Format::int8, Format::int4}) {
      test_blocks(kernels, format, random, false, least_code);
      test_blocks(kernels, format, random, true, least_code);
    }
    test_scaled(kernels, random, false, least_code);
    test_scaled(kernels, random, true, least_code);
  }
  std::printf("products: %s\n", kernels.name);
}

}  // namespace
}  // namespace slm
