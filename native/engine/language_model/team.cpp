#include "language_model/team.h"

namespace slm {
namespace {

// Weights that a thread reads before it asks for more: enough for its panels to hide each other's
// latency, little enough for threads to finish together.
constexpr std::int64_t kPieceBytes = 32 << 10;
constexpr int kPiecePanels = 4;  // at least: kernels work on several panels at a time

std::int64_t bytes_of_panel(const Matrix& matrix) {
  constexpr int kBits[] = {32, 16, 8, 4};
  const std::int64_t codes =
      std::int64_t{matrix.inputs} * kBits[static_cast<int>(matrix.format)] / 8;
  return (codes + std::int64_t{matrix.scale_blocks} * 2) * kPanel;
}

int panels_of_piece(const Matrix& matrix) {
  const std::int64_t panels = kPieceBytes / std::max<std::int64_t>(1, bytes_of_panel(matrix));
  return std::max(kPiecePanels, static_cast<int>(panels) / kPiecePanels * kPiecePanels);
}

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
  const int of_piece = panels_of_piece(matrix);
  run((panels + of_piece - 1) / of_piece, [&](int piece) {
    const int first = piece * of_piece;
    multiply_part(*kernels, matrix, rows, y, {count, first, std::min(panels, first + of_piece)});
  });
}

}  // namespace slm
