// What the parts of a model cost: sums of seconds and calls, if a bundle keeps them.
//
// In: from the thread that makes a call, the moments at which a part is done. Out: sums for each
// part of each layer, which add up to the whole calls. Where nobody keeps times there is no clock:
// only null pointers are tested. It changes no results and knows no layers, only their names.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace slm {

enum class Timed {
  norm,  // with what prepares its rows for a product in few bits
  qkv,
  attention,  // with the rotation, and keys and values that are stored
  output,
  gate_up,
  activation,
  down,
  inner,  // the first of two linear layers of a head
  codes,  // drawing them, and their embedding
  latents,
  convolution,
  unit_0,
  unit_1,
  unit_2,
  rest,
};
inline constexpr std::array<const char*, 15> kPartNames = {
    "norm",  "qkv",     "attention",   "output", "gate_up", "activation", "down", "inner",
    "codes", "latents", "convolution", "unit 0", "unit 1",  "unit 2",     "rest"};

struct PartSum {
  std::chrono::nanoseconds time{0};
  std::int64_t calls = 0;
};

// The sums of one stage, from any number of calls and threads. Layers have numbers; the last one is
// for what belongs to none.
class PartTimes {
 public:
  PartTimes(const char* stage, std::vector<std::string> layers)
      : stage_(stage), layers_(std::move(layers)), sums_(layers_.size() * kPartNames.size()) {}

  const char* stage() const { return stage_; }
  std::size_t size() const { return sums_.size(); }
  int other() const { return static_cast<int>(layers_.size()) - 1; }
  void add(const std::vector<PartSum>& sums);
  // receive(layer name, part name, sum) for every part that was there, and all sums are zero again.
  template <typename Receive>
  void take(const Receive& receive) {
    const std::lock_guard lock(mutex_);
    for (std::size_t index = 0; index < sums_.size(); ++index) {
      const PartSum sum = sums_[index];
      sums_[index] = {};
      if (sum.time.count() == 0 && sum.calls == 0) continue;
      receive(layers_[index / kPartNames.size()].c_str(), kPartNames[index % kPartNames.size()],
              sum);
    }
  }

 private:
  const char* stage_;
  std::vector<std::string> layers_;
  std::mutex mutex_;
  std::vector<PartSum> sums_;  // [layers][parts]
};

// One call. It takes its memory when it is made.
class Stopwatch {
 public:
  explicit Stopwatch(PartTimes* times);  // null: it does nothing
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  bool is_running() const { return times_ != nullptr; }
  // All since the last part belongs to this one. layer: below 0, that of what belongs to none.
  void lap(int layer, Timed part, int calls);
  // What is left belongs to no part, and the call counts. A call that fails does not.
  void finish();

 private:
  PartTimes* times_;
  std::chrono::steady_clock::time_point last_;
  std::vector<PartSum> sums_;
};

// What is handed down to the layers: where their time goes.
class Laps {
 public:
  Laps() = default;
  explicit Laps(Stopwatch& watch) : watch_(watch.is_running() ? &watch : nullptr) {}

  Laps at(int layer) const {
    Laps laps = *this;
    laps.layer_ = layer;
    return laps;
  }
  void lap(Timed part, int calls = 1) const {
    if (watch_ != nullptr) watch_->lap(layer_, part, calls);
  }

 private:
  Stopwatch* watch_ = nullptr;
  int layer_ = -1;
};

}  // namespace slm
