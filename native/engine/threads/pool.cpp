// The pool. Jobs lie in slots that are never freed: a thread that comes too late finds a job that
// is closed, not one that is gone.
//
// A process that was forked has no helpers. Nothing waits for helpers that have not come, so it
// computes alone.
#include "threads/pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>

namespace slm {
namespace {

constexpr int kSlots = 16;  // jobs at a time; further callers compute alone
constexpr std::chrono::microseconds kSpinning{50};  // longer than what lies between two products
constexpr int kLooks = 64;  // between looks at the clock

void rest() {  // tells the processor that this thread waits
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Wait while `value` is `old`.
void wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  const auto end = std::chrono::steady_clock::now() + kSpinning;
  do {
    for (int i = 0; i < kLooks; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      rest();
    }
  } while (std::chrono::steady_clock::now() < end);
  value.wait(old, std::memory_order_acquire);
}

// The work of one caller.
//
// A helper enters before it asks whether the job is open, and the caller closes the job before it
// asks who is inside; all of that is sequentially consistent. So either the helper sees that the
// job is closed, or the caller sees the helper and waits: what is not atomic here is only written
// while nobody reads it.
struct alignas(64) Job {
  std::atomic<bool> taken{false};  // by a caller
  std::atomic<bool> open{false};  // to helpers
  int pieces = 0;
  std::uint32_t helpers = 0;  // at most so many
  void (*work)(const void* context, int piece) = nullptr;
  const void* context = nullptr;
  alignas(64) std::atomic<int> next{0};  // the piece to be taken next
  std::atomic<std::uint32_t> inside{0};  // helpers

  void take_pieces() {
    for (;;) {
      const int piece = next.load(std::memory_order_relaxed);
      if (piece >= pieces) return;  // before adding: `next` must not run over
      const int mine = next.fetch_add(1, std::memory_order_relaxed);
      if (mine < pieces) work(context, mine);
    }
  }

  // Of a helper. False if there was nothing to do.
  bool help() {
    if (!open.load(std::memory_order_relaxed)) return false;
    const std::uint32_t before_me = inside.fetch_add(1);
    bool is_needed = open.load() && before_me < helpers;
    is_needed = is_needed && next.load(std::memory_order_relaxed) < pieces;
    if (is_needed) take_pieces();
    if (inside.fetch_sub(1) == 1) inside.notify_all();
    return is_needed;
  }

  // Of the caller: no helper is inside, and none will be.
  void close() {
    open.store(false);
    for (std::uint32_t some = inside.load(); some != 0; some = inside.load()) {
      wait_while(inside, some);
    }
  }
};

class Crew {
 public:
  Crew() {
    const int wanted = free_processors() - 1;
    try {
      for (; helpers_ < wanted; ++helpers_) std::thread([this] { help_forever(); }).detach();
    } catch (const std::exception&) {
      // The system gives no more threads or memory: those that there are do the work.
    }
  }

  int helpers() const { return helpers_; }

  // A free slot, or null.
  Job* take_slot() {
    for (Job& job : jobs_) {
      if (!job.taken.load(std::memory_order_relaxed) && !job.taken.exchange(true)) return &job;
    }
    return nullptr;
  }

  void call(int helpers) {
    signal_.fetch_add(1);
    for (int i = 0; i < helpers; ++i) signal_.notify_one();
  }

 private:
  void help_forever() {
    for (;;) {
      const std::uint32_t seen = signal_.load();  // before looking: no call is missed
      bool has_helped = false;
      for (Job& job : jobs_) has_helped |= job.help();
      if (!has_helped) wait_while(signal_, seen);
    }
  }

  Job jobs_[kSlots];
  alignas(64) std::atomic<std::uint32_t> signal_{0};  // counts jobs
  int helpers_ = 0;
};

Crew& crew() {
  // Never destroyed: its threads outlive whatever the process destroys when it ends.
  static Crew* const crew = new Crew;
  return *crew;
}

}  // namespace

Pool& Pool::shared() {
  static Pool pool;
  crew();
  return pool;
}

int Pool::threads() const { return crew().helpers() + 1; }

void Pool::run_pieces(int threads, int pieces, Piece work, const void* context) {
  const int helpers = std::min({threads, this->threads(), pieces}) - 1;
  Job* const job = helpers > 0 ? crew().take_slot() : nullptr;
  if (job == nullptr) {
    for (int piece = 0; piece < pieces; ++piece) work(context, piece);
    return;
  }
  job->pieces = pieces;
  job->helpers = static_cast<std::uint32_t>(helpers);
  job->work = work;
  job->context = context;
  job->next.store(0, std::memory_order_relaxed);
  job->open.store(true);
  crew().call(helpers);
  job->take_pieces();
  job->close();
  job->taken.store(false);
}

}  // namespace slm
