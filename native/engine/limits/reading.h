// How fast this machine reads memory.
//
// In: how much to read, or what the system says is free and lies in caches. Out: bytes a second of
// the fastest round. A memory that other machines use too is not the same from one second to the
// next, so it can be asked again and again.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace slm {

// Bytes to read: beyond the caches, and at most a quarter of what is free. 0: there is not enough.
std::size_t choose_reading_bytes(std::size_t free_bytes, std::size_t cache_bytes);
// Memory that programs can still have, and that the control group leaves to this one.
std::size_t find_free_bytes();
// The largest cache of a processor.
std::size_t find_cache_bytes();

class ReadingMemory {
 public:
  // large: ask for pages of 2 MB. Throws std::bad_alloc.
  ReadingMemory(std::size_t bytes, bool large);

  // Bytes a second, of rounds that together take about `seconds`.
  double bandwidth(int threads, double seconds) const;

 private:
  struct Release {
    void operator()(std::byte* data) const;
  };
  std::size_t bytes_;
  std::unique_ptr<std::byte, Release> data_;
};

}  // namespace slm
