// See reading.h.
#include "limits/reading.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "kernels/processor.h"
#include "limits/rounds.h"

#if defined(__linux__)
#include <sys/mman.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace slm {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kLargePage = 2 * kMiB;
constexpr std::size_t kUsualBytes = 512 * kMiB, kMostBytes = 1024 * kMiB;
constexpr std::size_t kUsualCache = 32 * kMiB;  // where the system does not say

std::atomic<std::uint64_t> unused{0};  // results go here, so that nothing is left out

std::uint64_t sum_of(const std::uint64_t* data, std::size_t count) {
  std::uint64_t sums[16] = {};
  for (std::size_t i = 0; i + 16 <= count; i += 16) {
    for (int lane = 0; lane < 16; ++lane) sums[lane] += data[i + lane];
  }
  std::uint64_t total = 0;
  for (std::uint64_t sum : sums) total += sum;
  return total;
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) std::uint64_t sum_of_avx512(const std::uint64_t* data,
                                                               std::size_t count) {
  __m512i sums[4] = {};
  for (std::size_t i = 0; i + 32 <= count; i += 32) {
    for (int part = 0; part < 4; ++part) {
      sums[part] = _mm512_add_epi64(sums[part], _mm512_load_si512(data + i + 8 * part));
    }
  }
  alignas(64) std::uint64_t lanes[32];
  for (int part = 0; part < 4; ++part) _mm512_store_si512(lanes + 8 * part, sums[part]);
  return sum_of(lanes, 32);
}
#endif

std::uint64_t read_part(const std::uint64_t* data, std::size_t count) {
#if defined(__x86_64__)
  static const bool has_avx512 = find_processor().has_avx512;
  if (has_avx512) return sum_of_avx512(data, count);
#endif
  return sum_of(data, count);
}

#if defined(__linux__)

// A file's only number; none if there is no such file, or no number in it ("max").
std::size_t read_number(const std::string& path, std::size_t none) {
  std::size_t number = 0;
  return std::ifstream(path) >> number ? number : none;
}

std::size_t available_bytes() {
  std::ifstream memory("/proc/meminfo");
  std::string word;
  std::size_t kilobytes = 0;
  while (memory >> word) {
    if (word == "MemAvailable:" && memory >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

// What is left in the control group that a container sees as the root of its tree.
std::size_t group_bytes() {
  constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  std::size_t least = none;
  for (const auto& [limit, used] :
       {std::pair{"memory.max", "memory.current"},
        std::pair{"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"}}) {
    const std::string folder = "/sys/fs/cgroup/";
    const std::size_t most = read_number(folder + limit, none);
    const std::size_t now = read_number(folder + used, 0);
    if (most != none) least = std::min(least, most > now ? most - now : 0);
  }
  return least;
}

#endif

#if defined(__APPLE__)

std::size_t ask_system(const char* name) {
  std::uint64_t value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? static_cast<std::size_t>(value) : 0;
}

#endif

}  // namespace

std::size_t choose_reading_bytes(std::size_t free_bytes, std::size_t cache_bytes) {
  const std::size_t least = 2 * cache_bytes;
  const std::size_t wanted = std::min(std::max(kUsualBytes, least), kMostBytes);
  const std::size_t bytes = std::min(wanted, free_bytes / 4) / kLargePage * kLargePage;
  return bytes < least ? 0 : bytes;
}

std::size_t find_free_bytes() {
#if defined(__linux__)
  return std::min(available_bytes(), group_bytes());
#elif defined(__APPLE__)
  return ask_system("hw.memsize") / 2;
#elif defined(_WIN32)
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? static_cast<std::size_t>(status.ullAvailPhys) : 0;
#else
  return 0;
#endif
}

std::size_t find_cache_bytes() {
  std::size_t largest = 0;
#if defined(__linux__)
  for (int index = 0; index < 8; ++index) {
    const std::string path =
        "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size";
    largest = std::max(largest, read_number(path, 0) * 1024);  // "32768K"
  }
#elif defined(__APPLE__)
  largest = std::max(ask_system("hw.l2cachesize"), ask_system("hw.perflevel0.l2cachesize"));
#endif
  return largest == 0 ? kUsualCache : largest;
}

void ReadingMemory::Release::operator()(std::byte* data) const {
  ::operator delete(data, std::align_val_t{kLargePage});
}

ReadingMemory::ReadingMemory(std::size_t bytes, bool large)
    : bytes_(bytes),
      data_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kLargePage}))) {
#if defined(__linux__)
  madvise(data_.get(), bytes, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
  static_cast<void>(large);
#endif
  std::memset(data_.get(), 1, bytes);
}

double ReadingMemory::bandwidth(int threads, double seconds) const {
  const auto* data = reinterpret_cast<const std::uint64_t*>(data_.get());
  const std::size_t part = bytes_ / sizeof(std::uint64_t) / threads / 64 * 64;
  const double best = fastest_round(threads, seconds, [&](int thread) {
    unused += read_part(data + static_cast<std::size_t>(thread) * part, part);
  });
  return static_cast<double>(part) * threads * sizeof(std::uint64_t) / best;
}

}  // namespace slm
