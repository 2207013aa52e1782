// The tiles of AMX: eight registers of 16 rows of 64 bytes, and the products of two of them.
//
// In: addresses. Out: sums. A thread configures its tiles, works, and releases them: nothing stays
// between calls. SLM_TILES_IN_SOFTWARE gives the same in plain C++, so that everything but the
// instructions themselves is tested on any processor. Written as assembly, because the compilers'
// own functions do not say which memory they read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace slm {
namespace {

inline constexpr int kTileRows = 16, kTileBytes = 64;

// Tiles 0 … 3 are sums, 4 and 5 inputs, 6 and 7 weights. The products of a step take `rows` rows
// and `bytes` bytes of each row's inputs, a multiple of 4.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t first_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes_of_row[16] = {};
  std::uint8_t rows_of[16] = {};

  TileShapes(int rows, int bytes) {
    for (int tile = 0; tile < 8; ++tile) {
      const bool is_input = tile == 4 || tile == 5, is_weight = tile > 5;
      bytes_of_row[tile] = static_cast<std::uint16_t>(is_input ? bytes : kTileBytes);
      rows_of[tile] = static_cast<std::uint8_t>(is_weight ? bytes / 4 : rows);
    }
  }
};

#if !defined(SLM_TILES_IN_SOFTWARE)

inline void configure_tiles(const TileShapes& shapes) {
  asm volatile("ldtilecfg %0" : : "m"(shapes) : "memory");
}
inline void release_tiles() { asm volatile("tilerelease" : : : "memory"); }

template <int kTile>
void zero_tile() {
  asm volatile("tilezero %%tmm%c0" : : "n"(kTile));
}
template <int kTile>
void load_tile(const void* rows, std::ptrdiff_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride), "n"(kTile) : "memory");
}
template <int kTile>
void store_tile(void* rows, std::ptrdiff_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(stride), "n"(kTile) : "memory");
}

// Of signed inputs and unsigned weights, four neighbours for each sum.
struct ByteProducts {
  template <int kSums, int kInputs, int kWeights>
  static void add() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "n"(kSums), "n"(kInputs), "n"(kWeights));
  }
};
// Of bfloat16, two neighbours for each sum.
struct HalfProducts {
  template <int kSums, int kInputs, int kWeights>
  static void add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "n"(kSums), "n"(kInputs), "n"(kWeights));
  }
};

#else

struct SoftwareTiles {
  std::uint8_t of[8][kTileRows][kTileBytes];
  int rows[8], bytes[8];
};
inline SoftwareTiles& software_tiles() {
  static thread_local SoftwareTiles tiles;
  return tiles;
}

inline void configure_tiles(const TileShapes& shapes) {
  SoftwareTiles& tiles = software_tiles();
  std::memset(tiles.of, 0, sizeof tiles.of);
  for (int tile = 0; tile < 8; ++tile) {
    tiles.rows[tile] = shapes.rows_of[tile];
    tiles.bytes[tile] = shapes.bytes_of_row[tile];
  }
}
inline void release_tiles() { std::memset(software_tiles().rows, 0, sizeof software_tiles().rows); }

template <int kTile>
void zero_tile() {
  std::memset(software_tiles().of[kTile], 0, kTileRows * kTileBytes);
}
template <int kTile>
void load_tile(const void* rows, std::ptrdiff_t stride) {
  SoftwareTiles& tiles = software_tiles();
  zero_tile<kTile>();
  for (int row = 0; row < tiles.rows[kTile]; ++row) {
    std::memcpy(tiles.of[kTile][row], static_cast<const std::uint8_t*>(rows) + row * stride,
                static_cast<std::size_t>(tiles.bytes[kTile]));
  }
}
template <int kTile>
void store_tile(void* rows, std::ptrdiff_t stride) {
  const SoftwareTiles& tiles = software_tiles();
  for (int row = 0; row < tiles.rows[kTile]; ++row) {
    std::memcpy(static_cast<std::uint8_t*>(rows) + row * stride, tiles.of[kTile][row],
                static_cast<std::size_t>(tiles.bytes[kTile]));
  }
}

// sum(group of inputs, group of weights, sum so far) for every sum and group of four bytes.
template <int kSums, int kInputs, int kWeights, typename Value, typename Sum>
void add_in_software(Sum sum) {
  SoftwareTiles& tiles = software_tiles();
  for (int row = 0; row < tiles.rows[kSums]; ++row) {
    for (int output = 0; output < kTileRows; ++output) {
      Value total;
      std::memcpy(&total, &tiles.of[kSums][row][4 * output], 4);
      for (int group = 0; group < tiles.rows[kWeights]; ++group) {
        total = sum(&tiles.of[kInputs][row][4 * group], &tiles.of[kWeights][group][4 * output],
                    total);
      }
      std::memcpy(&tiles.of[kSums][row][4 * output], &total, 4);
    }
  }
}

struct ByteProducts {
  template <int kSums, int kInputs, int kWeights>
  static void add() {
    add_in_software<kSums, kInputs, kWeights, std::uint32_t>(
        [](const std::uint8_t* x, const std::uint8_t* w, std::uint32_t total) {
          for (int i = 0; i < 4; ++i) {
            total += static_cast<std::uint32_t>(static_cast<std::int8_t>(x[i]) * int{w[i]});
          }
          return total;
        });
  }
};
struct HalfProducts {
  template <int kSums, int kInputs, int kWeights>
  static void add() {
    add_in_software<kSums, kInputs, kWeights, float>(
        [](const std::uint8_t* x, const std::uint8_t* w, float total) {
          std::uint16_t of_x[2], of_w[2];
          std::memcpy(of_x, x, 4);
          std::memcpy(of_w, w, 4);
          for (int i = 0; i < 2; ++i) {
            total = std::fma(float_from_bfloat(of_x[i]), float_from_bfloat(of_w[i]), total);
          }
          return total;
        });
  }
};

#endif

}  // namespace
}  // namespace slm
