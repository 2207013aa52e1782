// Keys and values of one sequence, for several layers of several heads.
//
// In: room for positions. Out: where the kernels find the keys and values of a layer's head, in the
// layout of kernels/cache_format.h. It does not know which positions are in use.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "language_model/buffer.h"

namespace slm {

struct CacheShape {
  int layers = 0;
  int heads = 0;  // of each layer
  int head_dim = 0;
  CacheFormat format = CacheFormat::float32;

  // Of a head's panel of keys, and of the values beside it.
  std::size_t key_bytes() const { return key_panel_bytes(format, head_dim); }
  std::size_t value_bytes() const { return value_panel_bytes(format, head_dim); }
};

class KeyValueCache {
 public:
  KeyValueCache() = default;
  explicit KeyValueCache(const CacheShape& shape) : shape_(shape) {}

  // Make room for `positions`; the first `used` keep their keys and values. Throws std::bad_alloc,
  // and then nothing has changed. most: positions that there can ever be.
  void reserve(int positions, int used, int most);

  // The first `positions` of another cache of this shape; there is room for them in both.
  void copy(const KeyValueCache& other, int positions);

  // All of it, as it lies in memory.
  std::byte* data() const { return memory_.data(); }
  std::size_t bytes() const {
    return static_cast<std::size_t>(shape_.layers) * shape_.heads * head_bytes();
  }

  CacheFormat format() const { return shape_.format; }
  void* keys(int layer, int head) const { return at(layer * shape_.heads + head); }
  void* values(int layer, int head) const {
    return at(layer * shape_.heads + head) + panels() * shape_.key_bytes();
  }

 private:
  // A head's keys, and its values behind them.
  std::byte* at(int number) const {
    return memory_.data() + static_cast<std::size_t>(number) * head_bytes();
  }
  std::size_t panels() const { return static_cast<std::size_t>(room_) / kPanel; }
  std::size_t head_bytes() const { return panels() * (shape_.key_bytes() + shape_.value_bytes()); }

  CacheShape shape_;
  int room_ = 0;              // positions, a multiple of 16
  Buffer<std::byte> memory_;  // [layers][heads][keys, values]
};

}  // namespace slm
