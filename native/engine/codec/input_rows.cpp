// See input_rows.h.
#include "codec/input_rows.h"

#include <cstring>

namespace slm {
namespace {

std::size_t value_bytes(Format format) {
  switch (format) {
    case Format::fp32:
      return 4;
    case Format::bf16:
      return 2;
    default:
      return 1;
  }
}

std::size_t sum_bytes(Format format) { return format == Format::int8 ? sizeof(std::int32_t) : 0; }

}  // namespace

InputRows::InputRows(Format format, int channels, int rows, WorkingMemory& memory)
    : format_(format),
      channels_(channels),
      data_(memory.take<std::byte>(value_bytes(format) * channels * rows)) {
  if (format == Format::int8) sums_ = memory.take<std::int32_t>(rows);
}

std::size_t InputRows::memory_bytes(Format format, int channels, int rows) {
  const std::size_t count = rows;
  return aligned(value_bytes(format) * channels * count) + aligned(sum_bytes(format) * count);
}

void InputRows::store(const Kernels& kernels, float scale, int row, const float* values, int rows) {
  const std::size_t count = static_cast<std::size_t>(rows) * channels_;
  switch (format_) {
    case Format::fp32:
      std::memcpy(floats(row), values, count * sizeof(float));
      return;
    case Format::bf16:
      kernels.to_half(values, reinterpret_cast<std::uint16_t*>(data_) + offset(row), count);
      return;
    default:
      kernels.quantize_scaled(values, channels_, rows, channels_, scale,
                              reinterpret_cast<std::int8_t*>(data_) + offset(row), sums_ + row);
  }
}

void InputRows::clear(int row, int rows) {
  std::memset(data_ + row * row_bytes(), 0, rows * row_bytes());
  if (sums_) std::memset(sums_ + row, 0, rows * sizeof(std::int32_t));
}

void InputRows::multiply(const Kernels& kernels, const Matrix& matrix, Reading reading, Part part,
                         const Output& output) const {
  switch (format_) {
    case Format::fp32:
      kernels.multiply(matrix, rows_of<float>(matrix, reading), output, part);
      return;
    case Format::bf16:
      kernels.multiply_half(matrix, rows_of<std::uint16_t>(matrix, reading), output, part);
      return;
    default:
      kernels.multiply_scaled(matrix,
                              {rows_of<std::int8_t>(matrix, reading), sums_ + reading.first,
                               reading.step, reading.dilation, matrix.input_scale},
                              output, part);
  }
}

std::size_t InputRows::kept_bytes(Format format, int channels, int rows) {
  return (value_bytes(format) * channels + sum_bytes(format)) * rows;
}

void InputRows::keep(int row, int rows, std::byte* kept) const {
  std::memcpy(kept, data_ + row * row_bytes(), rows * row_bytes());
  if (sums_) std::memcpy(kept + rows * row_bytes(), sums_ + row, rows * sizeof(std::int32_t));
}

void InputRows::restore(int row, int rows, const std::byte* kept) {
  std::memcpy(data_ + row * row_bytes(), kept, rows * row_bytes());
  if (sums_) std::memcpy(sums_ + row, kept + rows * row_bytes(), rows * sizeof(std::int32_t));
}

std::size_t InputRows::row_bytes() const { return value_bytes(format_) * channels_; }

template <typename Value>
Rows<Value> InputRows::rows_of(const Matrix& matrix, Reading reading) const {
  return {reinterpret_cast<const Value*>(data_) + offset(reading.first), offset(reading.step),
          channels_, matrix.taps, offset(reading.dilation)};
}

}  // namespace slm
