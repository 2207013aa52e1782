// slm_part_times and slm_measure_limits from outside, on tiny bundles.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "expect.h"
#include "opened_bundle.h"
#include "slm.h"
#include "tiny_bundle.h"

namespace slm::test {
namespace {

std::vector<slm_part_time> take_times(const Opened& opened) {
  slm_error error{};
  std::size_t most = 0, count = 0;
  expect(slm_part_times(opened.bundle, nullptr, 0, &most, &error) == SLM_OK, error.message);
  std::vector<slm_part_time> times(most);
  expect(slm_part_times(opened.bundle, times.data(), most - 1, &count, &error) == SLM_BAD_ARGUMENT,
         "too little room");
  expect(slm_part_times(opened.bundle, times.data(), most, &count, &error) == SLM_OK,
         error.message);
  times.resize(count);
  return times;
}

// Each part of each layer is there once, as often as it was called, and no result changes.
void test_part_times(const TinyBundle& tiny, const std::string& path) {
  constexpr int kSteps = 7;
  const Opened plain(path), timed(path, 2, 0, 1);
  const std::vector<float> audio = speak(timed, kSteps);
  expect(audio == speak(plain, kSteps), "the same bits whether times are kept or not");
  std::set<std::string> layers;
  std::map<std::string, std::int64_t> calls;
  for (const slm_part_time& time : take_times(timed)) {
    const std::string layer = std::string(time.stage) + "/" + time.layer;
    expect(calls.emplace(layer + "/" + time.part, time.calls).second, "once");
    layers.insert(layer);
    expect(time.seconds >= 0 && time.calls >= 0, "nothing runs backwards");
  }
  const std::int64_t steps = calls["step/drawing/codes"];
  expect(steps > 1 && steps <= kSteps, "codes of every step");
  expect(calls["step/0/norm"] == 2 * (steps - 1), "the first step has nothing to read");
  expect(calls["read/0/qkv"] == 1, "one prompt");
  for (int layer = 0; layer < tiny.model.layers; ++layer) {
    for (const char* stage : {"read", "step"}) {
      for (const char* part : {"norm", "qkv", "attention", "output", "gate_up", "activation"}) {
        const std::string place = stage + ("/" + std::to_string(layer)) + "/" + part;
        expect(calls.count(place) == 1, place);
      }
    }
  }
  const int heads = tiny.model.is_next_token() ? 3 : tiny.model.heads;
  for (int head = 0; head < heads; ++head) {
    expect(calls.count("step/head " + std::to_string(head) + "/output") == 1, "every head");
  }
  for (const char* place : {"first", "stage 1", "stage 2", "last", "other"}) {
    expect(layers.count(std::string("decode/") + place) == 1, place);
  }
  expect(take_times(timed).empty(), "times are handed out once");
}

void test_limits() {
  slm_error error{};
  slm_limits limits{};
  limits.size = sizeof limits;
  expect(slm_measure_limits(2, &limits, &error) == SLM_OK, error.message);
  // From a slow core to a large server: some orders of magnitude on both sides.
  expect(limits.read_bytes_per_second == 0 ||
             (limits.read_bytes_per_second > 1e6 && limits.read_bytes_per_second < 1e14),
         "bytes a second");
  expect(limits.fp32_macs_per_second > 1e6 && limits.fp32_macs_per_second < 1e15, "products");
  struct {
    std::uint32_t size = sizeof(std::uint32_t);
    std::uint32_t beyond[9] = {7, 7, 7, 7, 7, 7, 7, 7, 7};
  } older;
  expect(slm_measure_limits(1, reinterpret_cast<slm_limits*>(&older), &error) == SLM_OK,
         error.message);
  for (const std::uint32_t value : older.beyond) expect(value == 7, "nothing behind the struct");
}

}  // namespace
}  // namespace slm::test

int main() {
  using namespace slm::test;
  const TemporaryFolder made;
  test_limits();
  for (const slm::TinyBundle& tiny : slm::tiny_bundles()) {
    const std::string path = made.path() + "/" + tiny.name;
    slm::write_bundle(tiny, path);
    test_part_times(tiny, path);
  }
  return finish();
}
