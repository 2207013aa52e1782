// How keys and values lie in a cache: the number formats, and the bytes of sixteen positions.
//
// In: a format and a head's size. Out: sizes and offsets. Kernels write and read what they describe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slm {

// Positions of a head come in panels of 16. In float32 and float16, a panel of keys is
// [head_dim][16], one of values [16][head_dim]. In int8 (codes as code + 128), with `width`, the
// head's channels filled up to a multiple of 16:
//
//   keys    U8 [width / 4][16][4], then F32 [blocks][16]: scales of each 32 channels of a position
//   values  U8 [4][width][4], position 4 i + j at [i][channel][j], then F32 [16]: their scales
enum class CacheFormat : std::uint8_t { float32, float16, int8 };

inline constexpr int kMostHeadDim = 1024;
inline constexpr int kKeyBlock = 32;  // channels of a key that share a scale in int8

constexpr int code_width(int head_dim) { return (head_dim + 15) / 16 * 16; }
constexpr int key_blocks(int head_dim) {
  return (code_width(head_dim) + kKeyBlock - 1) / kKeyBlock;
}
// The scales lie behind a panel's codes.
constexpr std::size_t panel_code_bytes(int head_dim) {
  return std::size_t{16} * static_cast<std::size_t>(code_width(head_dim));
}

constexpr std::size_t plain_panel_bytes(CacheFormat format, int head_dim) {
  return std::size_t{16} * static_cast<std::size_t>(head_dim) *
         (format == CacheFormat::float16 ? 2 : 4);
}
constexpr std::size_t key_panel_bytes(CacheFormat format, int head_dim) {
  if (format != CacheFormat::int8) return plain_panel_bytes(format, head_dim);
  return panel_code_bytes(head_dim) +
         static_cast<std::size_t>(key_blocks(head_dim)) * 16 * sizeof(float);
}
constexpr std::size_t value_panel_bytes(CacheFormat format, int head_dim) {
  if (format != CacheFormat::int8) return plain_panel_bytes(format, head_dim);
  return panel_code_bytes(head_dim) + 16 * sizeof(float);
}

}  // namespace slm
