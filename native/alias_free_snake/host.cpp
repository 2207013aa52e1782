// The kernel's arithmetic on a CPU, for tests: the same tiles, one lane.
#include "core.h"

using namespace slm::alias_free_snake;

// window (channels, window_samples) -> output (channels, samples): output sample t is the window's
// sample t + offset. first and last: which of the window's samples are the signal's ends.
extern "C" __attribute__((visibility("default"))) void slm_alias_free_snake(
    const float* window, const float* frequency, const float* gain, const float* up,
    const float* down, int64_t first, int64_t last, int64_t channels, int64_t window_samples,
    int64_t samples, int64_t offset, float* output) {
  const Filters filters{up, down};
  const Lanes all{0, 1};
  Tile tile;
  for (int64_t channel = 0; channel < channels; ++channel) {
    for (int64_t start = 0; start < samples; start += kTile) {
      const int64_t origin = start + offset, left = samples - start;
      const Ends ends = ends_from(first, last, window_samples, origin);
      tile.load(window + channel * window_samples + origin, ends, all);
      tile.bend(ends, filters, {frequency[channel], gain[channel]}, all);
      tile.store(output + channel * samples + start, static_cast<int>(left < kTile ? left : kTile),
                 filters, all);
    }
  }
}
