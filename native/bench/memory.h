// Memory in large pages, for measurements. Filled, so that reading it reads memory.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace slm {

class LargeMemory {
 public:
  explicit LargeMemory(std::size_t size) : size_(size) {
    data_ = static_cast<char*>(::operator new(size, kAlignment));
#if defined(__linux__)
    madvise(data_, size, MADV_HUGEPAGE);
#endif
    std::memset(data_, 1, size);
  }
  ~LargeMemory() { ::operator delete(data_, kAlignment); }
  LargeMemory(const LargeMemory&) = delete;
  LargeMemory& operator=(const LargeMemory&) = delete;

  char* data() { return data_; }
  const char* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{std::size_t{2} << 20};
  char* data_;
  std::size_t size_;
};

}  // namespace slm
