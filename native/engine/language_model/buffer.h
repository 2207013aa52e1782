// Working memory: an array of plain values that begins as zeros, at a multiple of 64 bytes.
//
// In: a count. Out: memory, or std::bad_alloc. Zeros matter: what fills rows up to whole vectors is
// never written, and products count on it. Large arrays cost nothing until they are touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>

#include "weights/pages.h"

namespace slm {

template <typename Value>
class Buffer {
  static_assert(std::is_trivial_v<Value>);
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kLargeBytes = std::size_t{1} << 20;  // lie in pages of their own

 public:
  Buffer() = default;
  explicit Buffer(std::size_t count) : size_(count) {
    constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max() / 2;
    if (count > kMost / sizeof(Value)) throw std::bad_alloc();
    const std::size_t bytes = count * sizeof(Value) + kAlignment;
    const bool is_large = bytes >= kLargeBytes;
    memory_ = Memory(is_large ? take_pages(bytes) : std::calloc(bytes, 1), {is_large ? bytes : 0});
    if (!memory_) throw std::bad_alloc();
    const auto begin = reinterpret_cast<std::uintptr_t>(memory_.get());
    const std::size_t skipped = (kAlignment - begin % kAlignment) % kAlignment;
    data_ = reinterpret_cast<Value*>(static_cast<std::byte*>(memory_.get()) + skipped);
  }

  Value* data() const { return data_; }
  std::size_t size() const { return size_; }
  Value& operator[](std::size_t index) const { return data_[index]; }

 private:
  struct Free {
    std::size_t page_bytes = 0;  // of large arrays
    void operator()(void* memory) const {
      if (page_bytes > 0) {
        give_back_pages(memory, page_bytes);
      } else {
        std::free(memory);
      }
    }
  };
  using Memory = std::unique_ptr<void, Free>;
  Memory memory_;
  Value* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace slm
