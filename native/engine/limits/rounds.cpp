// See rounds.h.
#include "limits/rounds.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>
#include <vector>

namespace slm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kLeastRounds = 2;  // the first one finds slow clocks and new pages

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Threads that begin when all are there, or when no more can come.
class Round {
 public:
  Round(int threads, const std::function<void(int)>& work) : seconds_(threads), waiting_(threads) {
    for (int thread = 0; thread < threads; ++thread) {
      team_.emplace_back([this, thread, &work] {
        waiting_.fetch_sub(1);
        while (waiting_.load() > 0) std::this_thread::yield();
        const auto start = Clock::now();
        work(thread);
        seconds_[thread] = seconds_since(start);
      });
    }
  }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  double finish() {
    for (std::thread& thread : team_) thread.join();
    return *std::max_element(seconds_.begin(), seconds_.end());
  }

 private:
  // Ends threads that have begun if others cannot: members are destroyed in reverse order.
  class Team : public std::vector<std::thread> {
   public:
    explicit Team(std::atomic<int>& waiting) : waiting_(waiting) {}
    ~Team() {
      waiting_ = 0;
      for (std::thread& thread : *this) {
        if (thread.joinable()) thread.join();
      }
    }

   private:
    std::atomic<int>& waiting_;
  };
  std::vector<double> seconds_;
  std::atomic<int> waiting_;
  Team team_{waiting_};
};

}  // namespace

double fastest_round(int threads, double seconds, const std::function<void(int)>& work) {
  const auto start = Clock::now();
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kLeastRounds || seconds_since(start) < seconds; ++round) {
    best = std::min(best, Round(threads, work).finish());
  }
  return best;
}

}  // namespace slm
