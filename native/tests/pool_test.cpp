// The pool: every piece is done once, whatever callers and threads do beside it.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "check.h"
#include "threads/pool.h"

namespace slm {
namespace {

// Pieces write without atomics: a thread sanitizer sees it if run() returns too early.
void do_all_once(int threads, int pieces) {
  std::vector<int> done(static_cast<std::size_t>(pieces), 0);
  Pool::shared().run(threads, pieces, [&](int piece) { ++done[static_cast<std::size_t>(piece)]; });
  for (const int times : done) CHECK(times == 1, "pieces done once");
}

void test_sizes() {
  for (const int threads : {1, 2, 3, 1000}) {
    for (const int pieces : {0, 1, 2, 3, 7, 100, 1000}) do_all_once(threads, pieces);
  }
}

void test_threads_at_a_time() {
  for (const int threads : {1, 2}) {
    std::atomic<int> working{0}, most{0};
    for (int round = 0; round < 50; ++round) {
      Pool::shared().run(threads, 8, [&](int) {
        const int now = working.fetch_add(1) + 1;
        for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        std::this_thread::yield();
        working.fetch_sub(1);
      });
    }
    CHECK(most.load() <= threads, "no more threads than asked for");
  }
}

// Callers from many threads at once, more than there are slots.
void test_many_callers() {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 24; ++caller) {
    callers.emplace_back([caller] {
      for (int round = 0; round < 200; ++round) do_all_once(2 + caller % 3, 1 + round % 9);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

// Helpers that have gone to sleep are woken; a thread that sleeps holds up its own piece only.
void test_sleep() {
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    do_all_once(2, 16);
  }
  std::atomic<bool> has_slept{false};
  std::atomic<int> done{0};
  Pool::shared().run(2, 20, [&](int) {
    if (!has_slept.exchange(true)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    done.fetch_add(1);
  });
  CHECK(done.load() == 20, "all pieces done");
}

}  // namespace
}  // namespace slm

int main() {
  CHECK(slm::free_processors() >= 1, "at least one processor");
  slm::test_sizes();
  slm::test_threads_at_a_time();
  slm::test_many_callers();
  slm::test_sleep();
  std::printf("pool: %d threads\n", slm::Pool::shared().threads());
}
