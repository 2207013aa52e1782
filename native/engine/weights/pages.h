// Files of a bundle in memory: read, mapped, or copied into large pages; and empty memory.
//
// In: paths, or a size. Out: bytes. This is the one place that knows the operating system's files
// and memory. Paths are UTF-8. Errors of files are `Failure`s that begin with the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace slm {

// A file open for reading. Only regular files are opened, and no links.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Throws Failure if the file ends before, or cannot be read.
  void read_at(std::uint64_t offset, void* bytes, std::size_t count) const;

 private:
  friend class Pages;
  std::string path_;
  std::uint64_t size_ = 0;
  std::intptr_t handle_ = -1;
};

// Memory that is read-only once it is made. Its begin is aligned to a page.
class Pages {
 public:
  Pages() = default;
  // The whole file, its pages shared with other processes. Whoever shortens it meanwhile ends the
  // process, as with every mapped file: bundles are replaced, not changed in place.
  static Pages map(const InputFile& file);
  // A copy of `count` bytes in pages of 2 MB where the system has them, read by `threads` threads.
  static Pages copy(const InputFile& file, std::uint64_t offset, std::size_t count, int threads);
  ~Pages();
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  Pages(void* region, std::size_t region_size, std::size_t begin, std::size_t size);
  void* region_ = nullptr;  // what the system gave
  std::size_t region_size_ = 0;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// `size` bytes of zeros, which cost nothing until they are touched, each time anew: `calloc` may
// return memory that was used before, and then touches all of it. Throws std::bad_alloc.
void* take_pages(std::size_t size);
void give_back_pages(void* begin, std::size_t size) noexcept;

// A small file whole. Throws Failure if it has more bytes.
std::string read_file(const std::string& path, std::size_t most_bytes);

}  // namespace slm
