#include "language_model/team.h"

#include <array>

namespace slm {
namespace {

int bits_of(Format format) {
  switch (format) {
    case Format::fp32:
      return 32;
    case Format::bf16:
    case Format::fp16:
      return 16;
    case Format::int8:
      return 8;
    case Format::int4:
      return 4;
  }
  return 0;
}

constexpr int kLeastPanels = 4;  // of a piece: kernels work on several panels at a time
constexpr int kMostPieces = 128;

std::int64_t bytes_of_panel(const Matrix& matrix) {
  const std::int64_t codes = std::int64_t{matrix.inputs} * bits_of(matrix.format) / 8;
  return (codes + std::int64_t{matrix.scale_blocks} * 2) * kPanel;
}

// Where pieces of a product begin, and where the last one ends. Memory is read fastest in long
// runs, so each thread begins with most of its share; what is left is cut ever smaller, so that
// threads finish together although some are slower.
class Pieces {
 public:
  Pieces(int panels, int threads) {
    const int least = std::max(kLeastPanels, panels / (kMostPieces / 2));
    while (bounds_[count_] < panels) {
      const int left = panels - bounds_[count_];
      const int share = round_up(left * 4 / (threads * 5), kLeastPanels);
      bounds_[count_ + 1] = bounds_[count_] + std::min(left, std::max(least, share));
      ++count_;
    }
  }
  int count() const { return count_; }
  Part part(int rows, int piece) const { return {rows, bounds_[piece], bounds_[piece + 1]}; }

 private:
  std::array<int, kMostPieces + 1> bounds_{};
  int count_ = 0;
};

void multiply_part(const Kernels& kernels, const Matrix& matrix, const ProductRows& rows,
                   const Output& y, Part part) {
  if (takes_codes(matrix)) {
    kernels.multiply_blocks(matrix, rows.blocks(matrix), y, part);
  } else {
    kernels.multiply(matrix, rows.floats(), y, part);
  }
}

}  // namespace

std::int64_t bytes_of(const Matrix& matrix) {
  const std::int64_t bias = matrix.bias != nullptr ? kPanel * sizeof(float) : 0;
  return (bytes_of_panel(matrix) + bias) * matrix.panels();
}

void Team::multiply(const Matrix& matrix, const ProductRows& rows, int count,
                    const Output& y) const {
  const int panels = matrix.panels();
  if (threads == 1 || bytes_of_panel(matrix) * panels * count < kWorthSharing) {
    return multiply_part(*kernels, matrix, rows, y, {count, 0, panels});
  }
  const Pieces pieces(panels, threads);
  run(pieces.count(),
      [&](int piece) { multiply_part(*kernels, matrix, rows, y, pieces.part(count, piece)); });
}

}  // namespace slm
