// See part_times.h.
#include "times/part_times.h"

namespace slm {

using Clock = std::chrono::steady_clock;

void PartTimes::add(const std::vector<PartSum>& sums) {
  const std::lock_guard lock(mutex_);
  for (std::size_t index = 0; index < sums.size(); ++index) {
    sums_[index].time += sums[index].time;
    sums_[index].calls += sums[index].calls;
  }
}

Stopwatch::Stopwatch(PartTimes* times) : times_(times) {
  if (times == nullptr) return;
  sums_.resize(times->size());
  last_ = Clock::now();
}

void Stopwatch::lap(int layer, Timed part, int calls) {
  const Clock::time_point now = Clock::now();
  const int place = layer < 0 ? times_->other() : layer;
  PartSum& sum = sums_[static_cast<std::size_t>(place) * kPartNames.size() +
                       static_cast<std::size_t>(part)];
  sum.time += now - last_;
  sum.calls += calls;
  last_ = now;
}

void Stopwatch::finish() {
  if (times_ == nullptr) return;
  lap(-1, Timed::rest, 1);
  times_->add(sums_);
}

}  // namespace slm
