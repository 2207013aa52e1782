// Rows that go into products: floats, and their codes where a matrix has few bits.
//
// In: the matrices that will read them; then the rows' values. Out: what the kernels take. Codes
// belong to one matrix at a time, because matrices differ in smoothing and blocks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "language_model/buffer.h"

namespace slm {

inline bool takes_codes(const Matrix& matrix) {
  return matrix.format == Format::int8 || matrix.format == Format::int4;
}

// The memory that one row needs.
struct ProductShape {
  int values = 0;  // without filling up
  int codes = 0;
  int blocks = 0;

  explicit ProductShape(int values) : values(values) {}
  ProductShape& add(const Matrix& matrix) {
    if (takes_codes(matrix)) {
      codes = std::max(codes, matrix.inputs);
      blocks = std::max(blocks, matrix.inputs / matrix.block);
    }
    return *this;
  }
};

class ProductRows {
 public:
  ProductRows(int rows, const ProductShape& shape)
      : shape_(shape),
        stride_(round_up(shape.values, kPanel)),
        floats_(static_cast<std::size_t>(rows) * stride_),
        codes_(static_cast<std::size_t>(rows) * shape.codes),
        scales_(static_cast<std::size_t>(rows) * shape.blocks),
        sums_(static_cast<std::size_t>(rows) * shape.blocks) {}

  float* row(int index) const { return floats_.data() + static_cast<std::size_t>(index) * stride_; }
  std::ptrdiff_t stride() const { return stride_; }
  FloatRows floats() const { return {floats_.data(), stride_, stride_, 1, 0}; }
  BlockRows blocks(const Matrix& matrix) const {
    return {codes_.data(), scales_.data(), sums_.data(), matrix.inputs, matrix.block};
  }

  // Make the codes of a row for `matrix`, if it takes codes.
  void encode(const Kernels& kernels, const Matrix& matrix, int index) const {
    if (!takes_codes(matrix)) return;
    const std::size_t blocks = static_cast<std::size_t>(index) * (matrix.inputs / matrix.block);
    BlockRows rows = this->blocks(matrix);
    rows.codes += static_cast<std::size_t>(index) * matrix.inputs;
    rows.scales += blocks;
    rows.sums += blocks;
    kernels.quantize_blocks(row(index), stride_, 1, shape_.values, matrix.smoothing, rows);
  }

 private:
  ProductShape shape_;
  int stride_ = 0;
  Buffer<float> floats_;
  Buffer<std::int8_t> codes_;
  Buffer<float> scales_;
  Buffer<std::int32_t> sums_;
};

}  // namespace slm
