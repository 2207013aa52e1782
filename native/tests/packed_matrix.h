// Random matrices, packed as docs/native-engine.md says, for tests and measurements.
#pragma once

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "check.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace slm {

template <typename Value>
struct Aligned64 {
  using value_type = Value;
  Aligned64() = default;
  template <typename Other>
  Aligned64(const Aligned64<Other>&) {}
  Value* allocate(std::size_t count) {
    return static_cast<Value*>(::operator new(count * sizeof(Value), std::align_val_t{64}));
  }
  void deallocate(Value* p, std::size_t) { ::operator delete(p, std::align_val_t{64}); }
  bool operator==(const Aligned64&) const { return true; }
};
// As large as asked for, so that an address sanitizer sees what is read behind it.
template <typename Value>
using Buffer = std::vector<Value, Aligned64<Value>>;

struct MatrixSizes {
  Format format = Format::fp32;
  int outputs = 1;
  int channels = 16;  // of a tap, a multiple of 16
  int taps = 1;
  int block = 0;
  bool has_block_scales = false;  // else one for each output
  bool has_bias = true;
  float gain = 1.0f;
};

class PackedMatrix {
 public:
  PackedMatrix(const MatrixSizes& sizes, Random& random) {
    matrix.format = sizes.format;
    matrix.outputs = sizes.outputs;
    matrix.channels = sizes.channels;
    matrix.taps = sizes.taps;
    matrix.inputs = sizes.channels * sizes.taps;
    matrix.gain = sizes.gain;
    matrix.block = sizes.block > 0 ? sizes.block : matrix.inputs;
    matrix.scale_blocks = sizes.has_block_scales ? matrix.inputs / matrix.block : 1;
    fill_codes(random);
    fill_rest(sizes, random);
  }

  // Codes of int8 and int4, without their offset; values of fp32, bf16 and fp16.
  float weight(int output, int input) const {
    const std::size_t index = place(output, input);
    switch (matrix.format) {
      case Format::fp32: {
        float value;
        std::memcpy(&value, &codes_[index * 4], 4);
        return value;
      }
      case Format::bf16: {
        std::uint16_t half;
        std::memcpy(&half, &codes_[index * 2], 2);
        return float_from_bfloat(half);
      }
      case Format::fp16: {
        std::uint16_t half;
        std::memcpy(&half, &codes_[index * 2], 2);
        return float_from_half(half);
      }
      case Format::int8:
        return static_cast<float>(codes_[index] - 128);
      default:
        return static_cast<float>((input % 32 < 16 ? codes_[index] & 15 : codes_[index] >> 4) - 8);
    }
  }

  float scale(int output, int block) const {
    const int blocks = matrix.scale_blocks, at = blocks == 1 ? 0 : block;
    return float_from_half(
        scales_[(static_cast<std::size_t>(output / kPanel) * blocks + at) * kPanel +
                output % kPanel]);
  }

  void set_codes(std::uint8_t value) { std::fill(codes_.begin(), codes_.end(), value); }
  std::size_t bytes() const { return codes_.size() + scales_.size() * 2; }

  Matrix matrix;

 private:
  // Of a weight in its tensor: an index of values, of bytes for int4.
  std::size_t place(int output, int input) const {
    const std::size_t panel = static_cast<std::size_t>(output / kPanel), lane = output % kPanel;
    const std::size_t inputs = matrix.inputs, k = input;
    switch (matrix.format) {
      case Format::fp32:
      case Format::fp16:
        return (panel * inputs + k) * 16 + lane;
      case Format::bf16:
        return ((panel * (inputs / 2) + k / 2) * 16 + lane) * 2 + k % 2;
      case Format::int8:
        return ((panel * (inputs / 4) + k / 4) * 16 + lane) * 4 + k % 4;
      default:
        return ((panel * (inputs / 32) + k / 32) * 4 + k % 16 / 4) * 64 + lane * 4 + k % 4;
    }
  }

  void fill_codes(Random& random) {
    const std::size_t count = static_cast<std::size_t>(matrix.panels()) * matrix.inputs * kPanel;
    switch (matrix.format) {
      case Format::fp32:
        codes_.resize(count * 4);
        for (std::size_t i = 0; i < count; ++i) {
          const float value = random.real(-1, 1);
          std::memcpy(&codes_[i * 4], &value, 4);
        }
        break;
      case Format::bf16:
      case Format::fp16:
        codes_.resize(count * 2);
        for (std::size_t i = 0; i < count; ++i) {
          const float value = random.real(-1, 1);
          const std::uint16_t half = matrix.format == Format::bf16
                                         ? bfloat_from_float(value)
                                         : half_from_float(i % 7 == 0 ? value * 0x1p-14f : value);
          std::memcpy(&codes_[i * 2], &half, 2);
        }
        break;
      default:
        codes_.resize(matrix.format == Format::int8 ? count : count / 2);
        for (std::uint8_t& code : codes_) code = static_cast<std::uint8_t>(random.bits() >> 24);
    }
    matrix.codes = codes_.data();
  }

  void fill_rest(const MatrixSizes& sizes, Random& random) {
    const std::size_t lanes = static_cast<std::size_t>(matrix.panels()) * kPanel;
    if (sizes.format == Format::int8 || sizes.format == Format::int4) {
      scales_.resize(lanes * matrix.scale_blocks);
      for (std::uint16_t& scale : scales_) scale = half_from_float(random.real(0.001f, 0.02f));
      matrix.scales = scales_.data();
    }
    if (sizes.has_bias) {
      bias_.resize(lanes);
      for (float& value : bias_) value = random.real(-1, 1);
      matrix.bias = bias_.data();
    }
  }

  Buffer<std::uint8_t> codes_;
  Buffer<std::uint16_t> scales_;
  Buffer<float> bias_;
};

}  // namespace slm
