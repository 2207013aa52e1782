// Inputs of a convolution, in the format that its weights ask for: float32, bfloat16 or int8.
//
// In: rows of floats. Out: products with a matrix. Rows lie in working memory; what later pieces of
// the signal need of them is copied out and in as bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/working_memory.h"
#include "kernels/kernels.h"

namespace slm {

// Where the rows of a convolution begin, and how they lie: output row r, tap t reads input row
// first + r * step + t * dilation.
struct Reading {
  int first = 0;
  int step = 1;
  int dilation = 1;
};

class InputRows {
 public:
  // channels: of a row, a multiple of 16.
  InputRows(Format format, int channels, int rows, WorkingMemory& memory);
  static std::size_t memory_bytes(Format format, int channels, int rows);

  bool is_float() const { return format_ == Format::fp32; }
  float* floats(int row) const { return reinterpret_cast<float*>(data_) + offset(row); }
  // values: [rows][channels], to rows `row` and following. scale: of int8 codes.
  void store(const Kernels& kernels, float scale, int row, const float* values, int rows);
  void clear(int row, int rows);

  void multiply(const Kernels& kernels, const Matrix& matrix, Reading reading, Part part,
                const Output& output) const;

  // Bytes of so many rows outside of working memory.
  static std::size_t kept_bytes(Format format, int channels, int rows);
  void keep(int row, int rows, std::byte* kept) const;
  void restore(int row, int rows, const std::byte* kept);

 private:
  std::ptrdiff_t offset(int row) const { return static_cast<std::ptrdiff_t>(row) * channels_; }
  std::size_t row_bytes() const;
  template <typename Value>
  Rows<Value> rows_of(const Matrix& matrix, Reading reading) const;

  Format format_;
  int channels_;
  std::byte* data_;
  std::int32_t* sums_ = nullptr;  // int8: of each row's codes
};

}  // namespace slm
