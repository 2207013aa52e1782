// The operating system's files and memory, behind `InputFile` and `Pages`.
#include "weights/pages.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <new>
#include <utility>

#include "failure.h"
#include "threads/pool.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace slm {
namespace {

constexpr std::size_t kLargePage = std::size_t{2} << 20;
constexpr std::size_t kPiece = 4 * kLargePage;  // that one thread reads at a time

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, path + ": " + what + "; copy or export the bundle again");
}

// Memory that begins as zeros.
void* allocate(std::size_t size);
void prefer_large_pages(void* begin, std::size_t size) noexcept;
void protect(void* region, std::size_t size);
void release(void* region, std::size_t size) noexcept;

// At most `count` bytes; how many, or -1.
std::ptrdiff_t read_some(std::intptr_t handle, std::uint64_t offset, void* bytes,
                         std::size_t count);

bool read_all(std::intptr_t handle, std::uint64_t offset, std::byte* bytes, std::size_t count) {
  while (count > 0) {
    const std::ptrdiff_t got =
        read_some(handle, offset, bytes, std::min(count, std::size_t{1} << 30));
    if (got <= 0) return false;
    offset += static_cast<std::uint64_t>(got);
    bytes += got;
    count -= static_cast<std::size_t>(got);
  }
  return true;
}

#if defined(_WIN32)

HANDLE handle_of(std::intptr_t handle) { return reinterpret_cast<HANDLE>(handle); }

void* allocate(std::size_t size) {
  void* region = VirtualAlloc(nullptr, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (region == nullptr) throw std::bad_alloc();
  return region;
}

void prefer_large_pages(void*, std::size_t) noexcept {}

void protect(void* region, std::size_t size) {
  DWORD before = 0;
  VirtualProtect(region, size, PAGE_READONLY, &before);
}

// Mapped regions have the size 0 (the system knows theirs).
void release(void* region, std::size_t size) noexcept {
  if (size == 0) {
    UnmapViewOfFile(region);
  } else {
    VirtualFree(region, 0, MEM_RELEASE);
  }
}

std::ptrdiff_t read_some(std::intptr_t handle, std::uint64_t offset, void* bytes,
                         std::size_t count) {
  OVERLAPPED place{};
  place.Offset = static_cast<DWORD>(offset);
  place.OffsetHigh = static_cast<DWORD>(offset >> 32);
  DWORD got = 0;
  if (!ReadFile(handle_of(handle), bytes, static_cast<DWORD>(count), &got, &place)) return -1;
  return static_cast<std::ptrdiff_t>(got);
}

#else

void* allocate(std::size_t size) {
  void* region = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) throw std::bad_alloc();
  return region;
}

void prefer_large_pages([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t size) noexcept {
#if defined(MADV_HUGEPAGE)
  madvise(begin, size, MADV_HUGEPAGE);  // a wish: a system without large pages gives small ones
#endif
}

void protect(void* region, std::size_t size) { mprotect(region, size, PROT_READ); }

void release(void* region, std::size_t size) noexcept { munmap(region, size); }

std::ptrdiff_t read_some(std::intptr_t handle, std::uint64_t offset, void* bytes,
                         std::size_t count) {
  ssize_t got = -1;
  do {
    got = pread(static_cast<int>(handle), bytes, count, static_cast<off_t>(offset));
  } while (got < 0 && errno == EINTR);
  return got;
}

#endif

}  // namespace

#if defined(_WIN32)

InputFile::InputFile(const std::string& path) : path_(path) {
  const std::filesystem::path name(std::u8string(path.begin(), path.end()));
  const HANDLE file = CreateFileW(name.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr,
                                  OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail(path, "no such file, or it cannot be read");
  handle_ = reinterpret_cast<std::intptr_t>(file);
  BY_HANDLE_FILE_INFORMATION facts{};
  LARGE_INTEGER size{};
  const DWORD special = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
  if (!GetFileInformationByHandle(file, &facts) || (facts.dwFileAttributes & special) != 0 ||
      GetFileType(file) != FILE_TYPE_DISK || !GetFileSizeEx(file, &size)) {
    CloseHandle(file);
    fail(path, "is not a plain file");
  }
  size_ = static_cast<std::uint64_t>(size.QuadPart);
}

InputFile::~InputFile() { CloseHandle(handle_of(handle_)); }

Pages Pages::map(const InputFile& file) {
  if (file.size() == 0) return Pages();
  const HANDLE mapping =
      CreateFileMappingW(handle_of(file.handle_), nullptr, PAGE_READONLY, 0, 0, nullptr);
  void* region = mapping ? MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0) : nullptr;
  if (mapping) CloseHandle(mapping);
  if (region == nullptr) throw Failure(SLM_NO_MEMORY, file.path() + ": cannot be mapped");
  return Pages(region, 0, 0, static_cast<std::size_t>(file.size()));
}

#else

InputFile::InputFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: a pipe in the place of a file must not make this wait for its writer.
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) fail(path, errno == ELOOP ? "is a link" : "no such file, or it cannot be read");
  struct stat facts {};
  if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    close(file);
    fail(path, "is not a plain file");
  }
  handle_ = file;
  size_ = static_cast<std::uint64_t>(facts.st_size);
}

InputFile::~InputFile() { close(static_cast<int>(handle_)); }

Pages Pages::map(const InputFile& file) {
  if (file.size() == 0) return Pages();
  const auto size = static_cast<std::size_t>(file.size());
  void* region = mmap(nullptr, size, PROT_READ, MAP_SHARED, static_cast<int>(file.handle_), 0);
  if (region == MAP_FAILED) throw Failure(SLM_NO_MEMORY, file.path() + ": cannot be mapped");
  return Pages(region, size, 0, size);
}

#endif

void InputFile::read_at(std::uint64_t offset, void* bytes, std::size_t count) const {
  if (offset > size_ || count > size_ - offset) fail(path_, "ends too early");
  if (!read_all(handle_, offset, static_cast<std::byte*>(bytes), count)) {
    fail(path_, "cannot be read");
  }
}

Pages::Pages(void* region, std::size_t region_size, std::size_t begin, std::size_t size)
    : region_(region),
      region_size_(region_size),
      data_(static_cast<const std::byte*>(region) + begin),
      size_(size) {}

Pages Pages::copy(const InputFile& file, std::uint64_t offset, std::size_t count, int threads) {
  if (offset > file.size() || count > file.size() - offset) fail(file.path(), "ends too early");
  if (count == 0) return Pages();
  // A large page more than needed, so that the bytes begin with one. The wish ends with the bytes:
  // what would not fill a large page lies in small ones.
  const std::size_t region_size = count + kLargePage;
  void* region = allocate(region_size);
  const auto address = reinterpret_cast<std::uintptr_t>(region);
  const std::size_t begin = (kLargePage - address % kLargePage) % kLargePage;
  Pages pages(region, region_size, begin, count);
  auto* bytes = static_cast<std::byte*>(region) + begin;
  prefer_large_pages(bytes, count);
  const std::size_t pieces = (count + kPiece - 1) / kPiece;
  std::atomic<bool> is_read = true;
  Pool::shared().run(threads, static_cast<int>(pieces), [&](int piece) {
    const std::size_t first = static_cast<std::size_t>(piece) * kPiece;
    const std::size_t size = std::min(kPiece, count - first);
    if (!read_all(file.handle_, offset + first, bytes + first, size)) is_read = false;
  });
  if (!is_read) fail(file.path(), "cannot be read");
  protect(region, region_size);
  return pages;
}

Pages::~Pages() {
  if (region_ != nullptr) release(region_, region_size_);
}

Pages::Pages(Pages&& other) noexcept { *this = std::move(other); }

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(region_, other.region_);
  std::swap(region_size_, other.region_size_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void* take_pages(std::size_t size) { return allocate(size); }

void give_back_pages(void* begin, std::size_t size) noexcept { release(begin, size); }

std::string read_file(const std::string& path, std::size_t most_bytes) {
  const InputFile file(path);
  if (file.size() > most_bytes) {
    fail(path, "is larger than " + std::to_string(most_bytes) + " bytes");
  }
  std::string content(static_cast<std::size_t>(file.size()), '\0');
  file.read_at(0, content.data(), content.size());
  return content;
}

}  // namespace slm
