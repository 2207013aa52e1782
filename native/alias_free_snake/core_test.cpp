// The tiles against the definition, written out in double precision for one sample at a time.
#include "core.h"

#include <cstdio>
#include <vector>

using namespace slm::alias_free_snake;

namespace {

constexpr double kLimit = 1e-5;  // of the peak; measured: 2e-7
// Without symmetry, which would hide a reversed filter.
constexpr float kUp[kTaps] = {.002f, .03f, -.01f, -.1f, .07f, .45f,
                              .4f,   .12f, -.1f,  .02f, .01f, -.003f};
constexpr float kDown[kTaps] = {-.01f, .02f, .05f, -.07f, .1f,  .4f,
                                .5f,   .03f, -.1f, .01f,  .03f, .004f};
constexpr Bend kBend{1.7f, 0.6f};

// The signal is the window's samples first ... last.
double bent_at(const std::vector<float>& window, int64_t first, int64_t last, int64_t position) {
  position = clamp(position, 2 * first, 2 * last + 1);
  double doubled = 0.0;
  for (int tap = 0; tap < kTaps; ++tap) {
    if ((position + 5 - tap) % 2 == 0) {
      doubled += 2.0 * kUp[tap] * window[clamp((position + 5 - tap) / 2, first, last)];
    }
  }
  const double sine = std::sin(kBend.frequency * doubled);
  return doubled + kBend.gain * sine * sine;
}

double output_at(const std::vector<float>& window, int64_t first, int64_t last, int64_t sample) {
  double sum = 0.0;
  for (int tap = 0; tap < kTaps; ++tap) {
    sum += kDown[tap] * bent_at(window, first, last, 2 * sample + tap - 5);
  }
  return sum;
}

std::vector<float> outputs(const std::vector<float>& window, int64_t first, int64_t last,
                           int lane_count) {
  const Filters filters{kUp, kDown};
  const int64_t size = static_cast<int64_t>(window.size());
  std::vector<float> result(window.size());
  Tile tile;
  for (int64_t start = 0; start < size; start += kTile) {
    const Ends ends = ends_from(first, last, size, start);
    const int count = static_cast<int>(size - start < kTile ? size - start : kTile);
    const auto each_lane = [lane_count](auto step) {
      for (int lane = lane_count - 1; lane >= 0; --lane) step(Lanes{lane, lane_count});
    };
    each_lane([&](Lanes lanes) { tile.load(window.data() + start, ends, lanes); });
    each_lane([&](Lanes lanes) { tile.bend(ends, filters, kBend, lanes); });
    each_lane([&](Lanes lanes) { tile.store(result.data() + start, count, filters, lanes); });
  }
  return result;
}

bool agrees(int64_t samples, int64_t first, int64_t last, int lane_count) {
  std::vector<float> window;
  for (int64_t i = 0; i < samples; ++i) {
    window.push_back(static_cast<float>(2.0 * std::cos(0.7 * i * i) + 0.3 * (i % 5)));
  }
  const std::vector<float> result = outputs(window, first, last, lane_count);
  double worst = 0.0, peak = 0.0;
  for (int64_t i = first; i <= last; ++i) {
    const double expected = output_at(window, first, last, i);
    worst = std::fmax(worst, std::fabs(result[i] - expected));
    peak = std::fmax(peak, std::fabs(expected));
  }
  const bool good = worst <= kLimit * peak;
  std::printf("%s: %lld samples, signal %lld ... %lld, %d lanes: %.1e of the peak\n",
              good ? "ok" : "WRONG", static_cast<long long>(samples), static_cast<long long>(first),
              static_cast<long long>(last), lane_count, worst / peak);
  return good;
}

}  // namespace

int main() {
  bool good = true;
  for (const int64_t samples : {1, 2, 5, 11, kTile - 1, kTile, kTile + 1, 3 * kTile + 7}) {
    for (const int lane_count : {1, 96}) {
      good &= agrees(samples, 0, samples - 1, lane_count);
    }
  }
  for (const int64_t first : {1, 4, kTile - 3, kTile, kTile + 2, 2 * kTile - 1}) {
    good &= agrees(3 * kTile, first, first, 1);
    good &= agrees(3 * kTile, first, clamp<int64_t>(first + kTile + 3, 0, 3 * kTile - 1), 96);
    good &= agrees(3 * kTile, first, 3 * kTile - 1, 32);
  }
  return good ? 0 : 1;
}
