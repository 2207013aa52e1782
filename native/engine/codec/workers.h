// Who computes the codec: a table of kernels, and threads that share the work of a layer.
//
// In: how many rows and panels a layer has. Out: pieces of them, done by the pool. It knows no
// layers.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/kernels.h"
#include "threads/pool.h"
#include "times/part_times.h"

namespace slm {

struct Workers {
  const Kernels& kernels;
  int threads = 1;
  Laps laps = {};  // where the time of a call goes

  Workers timed_by(Laps where) const { return {kernels, threads, where}; }
  // Parts that follow are those of the layer with this number.
  Workers at(int layer) const { return {kernels, threads, laps.at(layer)}; }

  // Pieces that `split` makes at most.
  int most_pieces() const { return threads == 1 ? 1 : kPiecesPerThread * threads; }

  // body(first, behind) for consecutive ranges of 0 … count - 1, which begin at multiples of
  // `unit`.
  template <typename Body>
  void split(int count, int unit, const Body& body) const {
    split_numbered(count, unit, [&](int, int first, int behind) { body(first, behind); });
  }

  // body(piece, first, behind), piece in 0 … most_pieces() - 1.
  template <typename Body>
  void split_numbered(int count, int unit, const Body& body) const {
    if (count <= 0) return;
    const int units = (count + unit - 1) / unit, pieces = std::min(units, most_pieces());
    run(pieces, [&](int piece) {
      const int behind = bound(units, piece + 1, pieces) * unit;
      body(piece, bound(units, piece, pieces) * unit, std::min(behind, count));
    });
  }

  // body(first row, Part) for parts that together are `rows` rows of a product.
  template <typename Body>
  void split_product(const Matrix& matrix, int rows, const Body& body) const {
    const Grid grid = cut(matrix, rows);
    run(grid.row_pieces * grid.panel_pieces, [&](int piece) {
      const int row_piece = piece / grid.panel_pieces, panel_piece = piece % grid.panel_pieces;
      const int first = bound(rows, row_piece, grid.row_pieces);
      const Part part{bound(rows, row_piece + 1, grid.row_pieces) - first,
                      bound(matrix.panels(), panel_piece, grid.panel_pieces),
                      bound(matrix.panels(), panel_piece + 1, grid.panel_pieces)};
      if (part.rows > 0) body(first, part);
    });
  }

 private:
  struct Grid {
    int row_pieces, panel_pieces;
  };
  static constexpr int kMostShares = 64;
  struct alignas(64) Share {
    std::atomic<int> piece = 0;  // that is taken next
  };
  static constexpr int kPiecesPerThread = 4;  // so that one without a processor can be helped
  static constexpr std::int64_t kPieceProducts = 500'000;     // some microseconds: worth a thread
  static constexpr int kPieceRows = 24, kPiecePanels = 2;     // at least, to use what was loaded
  static constexpr std::int64_t kCachedWeights = 128 * 1024;  // stay near while rows pass

  static int bound(int count, int piece, int pieces) {
    return static_cast<int>(static_cast<std::int64_t>(count) * piece / pieces);
  }

  // Each thread has a share of neighbouring pieces, the same ones for layer after layer, so that it
  // finds its own rows in its cache. Then it helps the others.
  template <typename Body>
  void run(int pieces, const Body& body) const {
    const int shares = std::min({pieces, threads, kMostShares});
    if (shares == 1) {
      for (int piece = 0; piece < pieces; ++piece) body(piece);
      return;
    }
    Share next[kMostShares];
    for (int share = 0; share < shares; ++share) next[share].piece = bound(pieces, share, shares);
    Pool::shared().run(threads, shares, [&](int own) {
      for (int turn = 0; turn < shares; ++turn) {
        const int share = (own + turn) % shares, behind = bound(pieces, share + 1, shares);
        for (int piece; (piece = next[share].piece.fetch_add(1)) < behind;) body(piece);
      }
    });
  }

  // Large weights are cut by panels, so that each is read by one thread; small ones by rows.
  Grid cut(const Matrix& matrix, int rows) const {
    const std::int64_t weights = std::int64_t{matrix.inputs} * matrix.outputs;
    if (threads == 1) return {1, 1};
    const int pieces = static_cast<int>(std::clamp<std::int64_t>(
        weights * rows / kPieceProducts, 1, std::int64_t{kPiecesPerThread} * threads));
    const int most_rows = std::max(1, rows / kPieceRows);
    const int most_panels = std::max(1, matrix.panels() / kPiecePanels);
    if (weights > kCachedWeights) {
      const int panels = std::min(pieces, most_panels);
      return {std::clamp(pieces / panels, 1, most_rows), panels};
    }
    const int row_pieces = std::min(pieces, most_rows);
    return {row_pieces, std::clamp(pieces / row_pieces, 1, most_panels)};
  }
};

}  // namespace slm
