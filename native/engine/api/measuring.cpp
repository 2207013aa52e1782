// slm_part_times, slm_measure_limits.
//
// In: a bundle that keeps times, or a number of threads. Out: what its parts have cost, or what the
// machine can do at most.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include "api/guard.h"
#include "api/handles.h"
#include "codec/codec.h"
#include "language_model/language_model.h"
#include "limits/products.h"
#include "limits/reading.h"
#include "limits/rounds.h"

namespace slm {
namespace {

constexpr double kReadingSeconds = 0.3, kProductSeconds = 0.12;
constexpr std::uint32_t kMostStructBytes = 4096;

void measure(int threads, slm_limits& limits) {
  const std::size_t bytes = choose_reading_bytes(find_free_bytes(), find_cache_bytes());
  if (bytes > 0) {
    limits.read_bytes_per_second = ReadingMemory(bytes, true).bandwidth(threads, kReadingSeconds);
  }
  for (const ProductRate& rate : measure_products(threads, kProductSeconds)) {
    const auto is = [&](const char* format) { return std::strcmp(rate.format, format) == 0; };
    if (is("fp32")) limits.fp32_macs_per_second = rate.per_second;
    if (is("bf16")) limits.bf16_macs_per_second = rate.per_second;
    if (is("int8")) limits.int8_macs_per_second = rate.per_second;
  }
}

// Throws Failure if they are not kept.
std::array<PartTimes*, 3> times_of(const slm_bundle& bundle) {
  if (!bundle.time_parts) {
    throw Failure(SLM_NOT_SUPPORTED,
                  "the bundle was opened without time_parts; open it with options.time_parts = 1");
  }
  return {bundle.model->read_times(), bundle.model->step_times(), bundle.codec->times()};
}

std::size_t most_parts(const std::array<PartTimes*, 3>& stages) {
  std::size_t most = 0;
  for (const PartTimes* stage : stages) most += stage->size();
  return most;
}

slm_part_time* take_times(PartTimes& stage, slm_part_time* times) {
  stage.take([&](const char* layer, const char* part, const PartSum& sum) {
    const double seconds = std::chrono::duration<double>(sum.time).count();
    *times++ = {stage.stage(), layer, part, seconds, sum.calls};
  });
  return times;
}

}  // namespace
}  // namespace slm

slm_status slm_part_times(const slm_bundle* bundle, slm_part_time* times, size_t room,
                          size_t* count, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(count, "count");
    *count = 0;
    slm::require(bundle, "bundle");
    const auto stages = slm::times_of(*bundle);
    const std::size_t most = slm::most_parts(stages);
    if (times == nullptr) {
      *count = most;
      return;
    }
    if (room < most) {
      throw slm::Failure(SLM_BAD_ARGUMENT, "room: " + std::to_string(room) +
                                               " times are too few, " + std::to_string(most) +
                                               " are always enough");
    }
    slm_part_time* end = times;
    for (slm::PartTimes* stage : stages) end = slm::take_times(*stage, end);
    *count = static_cast<std::size_t>(end - times);
  });
}

slm_status slm_measure_limits(int32_t threads, slm_limits* limits, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(limits, "limits");
    const std::uint32_t size = limits->size;
    if (size < sizeof size || size > slm::kMostStructBytes) {
      throw slm::Failure(SLM_BAD_ARGUMENT, "limits.size must be sizeof(slm_limits)");
    }
    if (threads < 1 || threads > slm::kMostRoundThreads) {
      throw slm::Failure(SLM_BAD_ARGUMENT, "threads must be in 1 … " +
                                               std::to_string(slm::kMostRoundThreads));
    }
    slm_limits all{};
    all.size = size;
    slm::measure(threads, all);
    std::memcpy(limits, &all, std::min<std::size_t>(size, sizeof all));
  });
}
