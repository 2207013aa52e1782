// Who computes: the kernels of one instruction set, and the threads of the pool.
//
// In: work on rows, or a product. Out: the work done, cut into pieces where several threads gain by
// that. It knows no layers.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"
#include "language_model/product_rows.h"
#include "threads/pool.h"
#include "times/part_times.h"

namespace slm {

// Values, or weights' bytes, below which waking another thread costs more than it brings.
inline constexpr std::int64_t kWorthSharing = 1 << 15;

// Bytes of weights that a product reads.
std::int64_t bytes_of(const Matrix& matrix);

struct Team {
  const Kernels* kernels = nullptr;
  int threads = 1;
  Laps laps = {};  // where the time of a call goes

  Team timed_by(Stopwatch& watch) const { return {kernels, threads, Laps(watch)}; }

  // body(piece) for 0 … pieces - 1.
  template <typename Body>
  void run(int pieces, const Body& body) const {
    if (threads == 1 || pieces == 1) {
      for (int piece = 0; piece < pieces; ++piece) body(piece);
    } else {
      Pool::shared().run(threads, pieces, body);
    }
  }

  // body(item) for 0 … items - 1, each of which takes the time of so many values.
  template <typename Body>
  void each(int items, std::int64_t values, const Body& body) const {
    const int pieces = count_pieces(items, values);
    run(pieces, [&](int piece) {
      const auto [first, last] = piece_of(items, pieces, piece);
      for (int item = first; item < last; ++item) body(item);
    });
  }

  // Into how many pieces `items` of so many values should be cut.
  int count_pieces(int items, std::int64_t values) const {
    if (threads == 1 || items * values < kWorthSharing) return 1;
    return std::min(items, kPiecesPerThread * threads);
  }
  struct Range {
    int first;
    int last;
  };
  static Range piece_of(int items, int pieces, int piece) {
    const auto bound = [&](int number) {
      return static_cast<int>(static_cast<std::int64_t>(items) * number / pieces);
    };
    return {bound(piece), bound(piece + 1)};
  }

  // y (+)= rows · matrix, plus its bias. The rows must have been encoded for the matrix.
  void multiply(const Matrix& matrix, const ProductRows& rows, int count, const Output& y) const;

  // The same of rows that have not been encoded.
  void project(const Matrix& matrix, const ProductRows& rows, int count, const Output& y) const {
    each(count, rows.stride(), [&](int row) { rows.encode(*kernels, matrix, row); });
    multiply(matrix, rows, count, y);
  }

  static constexpr int kPiecesPerThread = 4;
};

}  // namespace slm
