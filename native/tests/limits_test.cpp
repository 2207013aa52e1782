// How much memory is read for the limits of a machine, and that rounds are those of all threads.
#include <atomic>
#include <chrono>
#include <thread>

#include "expect.h"
#include "limits/products.h"
#include "limits/reading.h"
#include "limits/rounds.h"

namespace slm::test {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

void test_bytes() {
  expect(choose_reading_bytes(24'000 * kMiB, 32 * kMiB) == 512 * kMiB, "512 MB, if there are");
  expect(choose_reading_bytes(400 * kMiB, kMiB) == 100 * kMiB, "a quarter of what is free");
  expect(choose_reading_bytes(24'000 * kMiB, 400 * kMiB) == 800 * kMiB, "twice the caches");
  expect(choose_reading_bytes(200 * kMiB, 32 * kMiB) == 0, "nothing that lies in caches");
  expect(choose_reading_bytes(900'000 * kMiB, 1'100 * kMiB) == 0, "at most 1 GB");
  expect(choose_reading_bytes(0, kMiB) == 0, "no memory");
  expect(find_cache_bytes() >= 1024, "caches");
#if defined(__linux__)
  expect(find_free_bytes() > kMiB, "free memory");
#endif
}

void test_rounds() {
  std::atomic<int> calls{0};
  const double slowest = fastest_round(2, 0, [&](int thread) {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(1 + 4 * thread));
  });
  expect(calls == 4, "two rounds at least, of two threads each");
  expect(slowest >= 0.005, "a round takes as long as its slowest thread");
}

void test_rates() {
  const ReadingMemory memory(4 * kMiB, true);
  expect(memory.bandwidth(3, 0.01) > 1e6, "bytes are read");
  for (const ProductRate& rate : measure_products(1, 0.01)) {
    expect(rate.per_second > 1e6, rate.format);
  }
}

}  // namespace
}  // namespace slm::test

int main() {
  slm::test::test_bytes();
  slm::test::test_rounds();
  slm::test::test_rates();
  return slm::test::finish();
}
