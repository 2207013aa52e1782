// Keys and values of one sequence, for several layers of several heads.
//
// In: room for positions. Out: where the kernels find the keys and values of a layer's head, in the
// layout of `Attention`. It does not know which positions are in use.
#pragma once

#include <cstddef>
#include <cstdint>

#include "language_model/buffer.h"

namespace slm {

struct CacheShape {
  int layers = 0;
  int heads = 0;  // of each layer
  int head_dim = 0;
  bool is_half = false;  // float16, otherwise float32

  std::size_t value_bytes() const { return is_half ? 2 : 4; }
};

class KeyValueCache {
 public:
  KeyValueCache() = default;
  explicit KeyValueCache(const CacheShape& shape) : shape_(shape) {}

  // Make room for `positions`; the first `used` keep their keys and values. Throws std::bad_alloc,
  // and then nothing has changed. most: positions that there can ever be.
  void reserve(int positions, int used, int most);

  int room() const { return room_; }
  bool is_half() const { return shape_.is_half; }
  void* keys(int layer, int head) const { return at(layer, head, 0); }
  void* values(int layer, int head) const { return at(layer, head, 1); }

 private:
  std::byte* at(int layer, int head, int part) const {
    const std::size_t number = (static_cast<std::size_t>(layer) * shape_.heads + head) * 2 + part;
    return memory_.data() + number * part_bytes(room_);
  }
  std::size_t part_bytes(int positions) const {
    return static_cast<std::size_t>(positions) * shape_.head_dim * shape_.value_bytes();
  }

  CacheShape shape_;
  int room_ = 0;              // positions, a multiple of 16
  Buffer<std::byte> memory_;  // [layers][heads][keys, values]
};

}  // namespace slm
