// Products by AMX: 16 or 32 rows by two panels at once, in four tiles of sums.
//
// In: matrices and rows as in code_products.h and float_products.h. Out: the same products, in the
// same bits where sums are of integers. Included after a simd_*.h.
#pragma once

#include "kernels/amx_tiles.h"
#include "kernels/code_products.h"
#include "kernels/float_products.h"

namespace slm {
namespace {

// Fewer rows go by vectors: a tile of few rows is set up and loaded as a full one is. Sums of
// bfloat16 always go by tiles: their bits must not depend on the number of rows.
inline constexpr int kLeastTileRows = 16;

// A tile of memory.
struct alignas(64) Stage {
  std::uint8_t row[kTileRows][kTileBytes];
};
// What the tiles of sums hold, [2 · rows' tile + panel].
struct TileSums {
  Stage of[4];

  const std::uint8_t* at(int tile, int panel, int row) const {
    return of[2 * tile + panel].row[row];
  }
};

// Rows in tiles. Where they do not come out even, the last tile begins earlier, and its first rows
// are computed again, but not stored: no tile reads behind the rows.
struct TileRows {
  int rows;
  int height;  // of every tile

  explicit TileRows(int all) : rows(all), height(all < kTileRows ? all : kTileRows) {}
  int count() const { return (rows + kTileRows - 1) / kTileRows; }
  int begin(int tile) const {
    return kTileRows * tile < rows - height ? kTileRows * tile : rows - height;
  }
  int first_new(int tile) const { return kTileRows * tile - begin(tile); }
};

// Where some tiles of rows and panels lie.
struct TilePlace {
  TileRows rows;
  int tile;
  int panel;
  bool is_first;  // of these panels: they come from memory
};

template <int kTiles, int kPanels>
void zero_sums() {
  zero_tile<0>();
  if constexpr (kPanels > 1) zero_tile<1>();
  if constexpr (kTiles > 1) zero_tile<2>();
  if constexpr (kTiles > 1 && kPanels > 1) zero_tile<3>();
}
template <int kTiles, int kPanels>
void store_sums(TileSums& sums) {
  store_tile<0>(&sums.of[0], kTileBytes);
  if constexpr (kPanels > 1) store_tile<1>(&sums.of[1], kTileBytes);
  if constexpr (kTiles > 1) store_tile<2>(&sums.of[2], kTileBytes);
  if constexpr (kTiles > 1 && kPanels > 1) store_tile<3>(&sums.of[3], kTileBytes);
}
template <typename Products, int kTiles, int kPanels>
void add_products() {
  Products::template add<0, 4, 6>();
  if constexpr (kPanels > 1) Products::template add<1, 4, 7>();
  if constexpr (kTiles > 1) Products::template add<2, 5, 6>();
  if constexpr (kTiles > 1 && kPanels > 1) Products::template add<3, 5, 7>();
}

template <int kTile>
void load_weights(const std::uint8_t* weights, int bytes, bool from_memory) {
  if (from_memory) {
    for (int line = 0; line < bytes; line += kTileBytes) prefetch(weights + line, kPrefetchBytes);
  }
  load_tile<kTile>(weights, kTileBytes);
}

// Rows whose inputs lie in taps (`Rows`), in bytes. A tap has a multiple of 16.
struct TapRows {
  const std::uint8_t* data;
  std::ptrdiff_t row_stride, tap_stride;
  int tap_bytes;
  int bytes;  // of all taps

  template <typename Value>
  explicit TapRows(const Rows<Value>& x)
      : data(reinterpret_cast<const std::uint8_t*>(x.data)),
        row_stride(x.row_stride * std::ptrdiff_t{sizeof(Value)}),
        tap_stride(x.tap_stride * std::ptrdiff_t{sizeof(Value)}),
        tap_bytes(x.channels * int{sizeof(Value)}),
        bytes(x.taps * tap_bytes) {}

  const std::uint8_t* at(int row, int byte) const {
    return data + row * row_stride + byte / tap_bytes * tap_stride + byte % tap_bytes;
  }

  // Bytes byte … byte + 63 of rows row … row + height - 1. What lies in two taps, or behind the
  // last, is brought together first.
  template <int kTile>
  void load(int row, int height, int byte, Stage& stage) const {
    if (byte % tap_bytes + kTileBytes <= tap_bytes) {
      load_tile<kTile>(at(row, byte), row_stride);
      return;
    }
    constexpr int kPiece = 16;
    for (int r = 0; r < height; ++r) {
      for (int i = 0; i < kTileBytes; i += kPiece) {
        if (byte + i < bytes) {
          std::memcpy(&stage.row[r][i], at(row + r, byte + i), kPiece);
        } else {
          std::memset(&stage.row[r][i], 0, kPiece);
        }
      }
    }
    load_tile<kTile>(&stage, kTileBytes);
  }
};

// The same of weights, which lie side by side: 16 outputs for each byte.
template <int kTile>
void load_weights_of(const std::uint8_t* panel, int byte, int bytes, Stage& stage, bool is_first) {
  const std::uint8_t* const weights = panel + std::ptrdiff_t{byte} * kPanel;
  if (byte + kTileBytes <= bytes) {
    load_weights<kTile>(weights, kTileBytes * kPanel, is_first);
    return;
  }
  const std::size_t left = static_cast<std::size_t>(bytes - byte) * kPanel;
  std::memcpy(&stage, weights, left);
  std::memset(reinterpret_cast<std::uint8_t*>(&stage) + left, 0, sizeof stage - left);
  load_tile<kTile>(&stage, kTileBytes);
}

// One sum over all inputs.
template <typename Products, int kTiles, int kPanels>
void sum_taps(const Matrix& matrix, const TapRows& x, const TilePlace& place, TileSums& sums) {
  Stage stages[4];
  const int first = place.rows.begin(place.tile), height = place.rows.height;
  const auto* const panel = static_cast<const std::uint8_t*>(matrix.codes) +
                            std::ptrdiff_t{place.panel} * x.bytes * kPanel;
  zero_sums<kTiles, kPanels>();
  for (int byte = 0; byte < x.bytes; byte += kTileBytes) {
    x.load<4>(first, height, byte, stages[0]);
    if constexpr (kTiles > 1) x.load<5>(place.rows.begin(place.tile + 1), height, byte, stages[1]);
    load_weights_of<6>(panel, byte, x.bytes, stages[2], place.is_first);
    if constexpr (kPanels > 1) {
      load_weights_of<7>(panel + std::ptrdiff_t{x.bytes} * kPanel, byte, x.bytes, stages[3],
                         place.is_first);
    }
    add_products<Products, kTiles, kPanels>();
  }
  store_sums<kTiles, kPanels>(sums);
}

// run<tiles, panels>(place) for all tiles, panels outside: they are read from memory once.
template <typename Run>
void run_places(int rows, int bytes, Part part, Run run) {
  if (part.rows <= 0) return;
  const TileRows tiles(rows);
  configure_tiles(TileShapes(tiles.height, bytes));
  for (int panel = part.first_panel; panel < part.last_panel; panel += 2) {
    const bool has_both = panel + 1 < part.last_panel;
    for (int tile = 0; tile < tiles.count(); tile += 2) {
      const TilePlace place{tiles, tile, panel, tile == 0};
      if (tile + 1 < tiles.count()) {
        has_both ? run.template operator()<2, 2>(place) : run.template operator()<2, 1>(place);
      } else {
        has_both ? run.template operator()<1, 2>(place) : run.template operator()<1, 1>(place);
      }
    }
  }
  release_tiles();
}

// finish(panel, row, sums) for every new row of some tiles.
template <int kTiles, int kPanels, typename Finish>
void for_new_rows(const TilePlace& place, const TileSums& sums, Finish finish) {
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTiles; ++t) {
      const int begin = place.rows.begin(place.tile + t);
      for (int r = place.rows.first_new(place.tile + t); r < place.rows.height; ++r) {
        finish(place.panel + p, begin + r, sums.at(t, p, r));
      }
    }
  }
}

inline void multiply_half_in_tiles(const Matrix& matrix, const HalfRows& x, const Output& output,
                                   Part part) {
  const TapRows rows(x);
  run_places(part.rows, kTileBytes, part, [&]<int kTiles, int kPanels>(const TilePlace& place) {
    TileSums sums;
    sum_taps<HalfProducts, kTiles, kPanels>(matrix, rows, place, sums);
    for_new_rows<kTiles, kPanels>(place, sums, [&](int panel, int row, const std::uint8_t* sum) {
      const f32x16 total = load(reinterpret_cast<const float*>(sum));
      store_product(matrix, output, row, panel, with_bias(matrix, panel, total));
    });
  });
}

inline void multiply_scaled_in_tiles(const Matrix& matrix, const ScaledRows& x,
                                     const Output& output, Part part) {
  if (part.rows < kLeastTileRows) return multiply_scaled(matrix, x, output, part);
  const TapRows rows(x.rows);
  run_places(part.rows, kTileBytes, part, [&]<int kTiles, int kPanels>(const TilePlace& place) {
    TileSums sums;
    sum_taps<ByteProducts, kTiles, kPanels>(matrix, rows, place, sums);
    for_new_rows<kTiles, kPanels>(place, sums, [&](int panel, int row, const std::uint8_t* sum) {
      const f32x16 scale =
          splat(x.scale) * load_half(matrix.scales + std::ptrdiff_t{panel} * kPanel);
      const f32x16 bias = matrix.bias ? load(matrix.bias + panel * kPanel) : splat(0.0f);
      const i32x16 total = load_pairs(sum) + without_offset(kCodeOffset, sum_of_taps(x, row));
      store_product(matrix, output, row, panel, fma(to_float(total), scale, bias));
    });
  });
}

}  // namespace
}  // namespace slm
