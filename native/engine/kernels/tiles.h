// How a product is cut into tiles: some rows by some panels, whose sums stay in registers.
//
// In: a part of a product, and a kernel for one tile of each number of rows. Out: the kernel called
// for all tiles, each panel read from memory once. Included after a simd_*.h.
#pragma once

#include <cstddef>
#include <utility>

#include "kernels/kernels.h"

namespace slm {
namespace {

// Where a tile lies. Panels behind `panels` repeat the last one, so that every tile is complete;
// they are computed, but not stored.
struct Place {
  int row = 0;
  int panel = 0;
  int panels = 0;
  int tile = 0;  // which one of the `tiles` of these panels
  int tiles = 1;

  int panel_at(int index) const { return panel + (index < panels ? index : panels - 1); }

  // How far ahead of line `line` of four, read of a panel, memory should be asked for. A single
  // tile reads as fast as memory gives. Of several, each asks for its share of the next panels,
  // which lie `bytes` behind: they come in while the tiles are computed.
  std::ptrdiff_t ahead(int line, std::size_t bytes) const {
    if (tiles == 1) return kPrefetchBytes;
    return line % tiles == tile ? static_cast<std::ptrdiff_t>(bytes) : 0;
  }
};

// The same for each of four lines.
struct Ahead {
  std::ptrdiff_t of[4];

  Ahead(const Place& place, std::size_t bytes) {
    for (int line = 0; line < 4; ++line) of[line] = place.ahead(line, bytes);
  }
};

// p may lie behind the end of a tensor: nothing is read.
inline void prefetch(const void* p, std::ptrdiff_t ahead) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(p) +
                                                   static_cast<std::uintptr_t>(ahead)));
}

// Whether products take two rows at once (row_pairs.h), so that an odd one costs as much as two.
#if defined(SLM_HAS_MATRIX_PRODUCTS)
inline constexpr bool kHasRowPairs = true;
#else
inline constexpr bool kHasRowPairs = false;
#endif

// Rows in tiles of almost equal size, none of more than `most` rows.
struct RowTiles {
  int rows;
  int count;
  int step;  // all but the last are a multiple of it

  RowTiles(int all, int most)
      : rows(all), count((all + most - 1) / most), step(kHasRowPairs && most % 2 == 0 ? 2 : 1) {}
  int begin(int tile) const {
    const int even = round_up(static_cast<int>(std::int64_t{rows} * tile / count), step);
    return even < rows ? even : rows;
  }
};

template <typename Input>
using TileFunction = void (*)(const Matrix&, const Input&, const Output&, Place);

// The functions of tiles of 1 … kRows rows and kPanels panels.
template <template <int, int> class Kind, int kRows, int kPanels, typename Input>
TileFunction<Input> tile_of(int rows) {
  static constexpr auto functions = []<int... kIndex>(std::integer_sequence<int, kIndex...>) {
    struct Functions {
      TileFunction<Input> of[kRows];
    };
    return Functions{{&Kind<kIndex + 1, kPanels>::run...}};
  }(std::make_integer_sequence<int, kRows>());
  return functions.of[rows - 1];
}

// Kind<rows, panels>::run computes a tile. Tiles of the same panels follow each other, so the panels
// stay in the cache. Up to kRowsAlone rows are a single tile, which takes kPanelsAlone panels: as
// many streams of weights as memory serves best.
template <template <int, int> class Kind, int kRows, int kPanels, int kRowsAlone, int kPanelsAlone,
          typename Input>
void run_tiles(const Matrix& matrix, const Input& input, const Output& output, Part part) {
  if (part.rows <= 0) return;
  const bool is_alone = part.rows <= kRowsAlone;
  const RowTiles tiles(part.rows, kRows);
  const int step = is_alone ? kPanelsAlone : kPanels;
  for (int panel = part.first_panel; panel < part.last_panel; panel += step) {
    const int left = part.last_panel - panel;
    for (int tile = 0; tile < tiles.count; ++tile) {
      const int row = tiles.begin(tile), rows = tiles.begin(tile + 1) - row;
      const auto run = is_alone ? tile_of<Kind, kRowsAlone, kPanelsAlone, Input>(rows)
                                : tile_of<Kind, kRows, kPanels, Input>(rows);
      run(matrix, input, output, {row, panel, left < step ? left : step, tile, tiles.count});
    }
  }
}

// The end of every product: panel `panel` of row `row`, whose sums are `value`.
inline void store_product(const Matrix& matrix, const Output& output, int row, int panel,
                          f32x16 value) {
  const int column = panel * kPanel;
  const int left = matrix.outputs - column;
  float* const target = output.data + row * output.stride + column;
  if (left >= kPanel) {
    store(target, output.add ? load(target) + value : value);
  } else {
    store(target, output.add ? load(target, left) + value : value, left);
  }
}

// gain · sum + bias.
inline f32x16 with_bias(const Matrix& matrix, int panel, f32x16 total) {
  const f32x16 gain = splat(matrix.gain);
  if (matrix.bias == nullptr) return gain * total;
  return fma(gain, total, load(matrix.bias + panel * kPanel));
}

}  // namespace
}  // namespace slm
