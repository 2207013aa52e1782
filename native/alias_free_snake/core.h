// Alias-free SnakeBeta on one tile of one channel, for host and device alike.
//
// In: a window of a signal, where in it the signal's first and last sample are, filters, and the
// channel's frequency and gain. Out: as many output samples as a tile holds. The signal is brought
// to twice its rate, bent by v + gain * sin(frequency * v)^2, low-passed and brought back; it and
// the doubled signal continue beyond their ends with their end samples (train/alias_free.py, and
// BigVGAN, arXiv 2206.04658). All arithmetic is float. It knows neither threads nor tensors:
// `Lanes` says which of the iterations of a loop the caller runs.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define SLM_HOST_DEVICE __host__ __device__
#else
#define SLM_HOST_DEVICE
#endif

namespace slm::alias_free_snake {

inline constexpr int kTaps = 12;
inline constexpr int kPhaseTaps = kTaps / 2;  // that meet samples: every other one
inline constexpr int kReach = 5;  // samples on each side that an output sample is made of
inline constexpr int kTile = 512;  // output samples
inline constexpr int kTileInput = kTile + 2 * kReach;
inline constexpr int kTilePhase = kTile + kPhaseTaps - 1;  // of each phase of the doubled rate

struct Filters {
  const float* up;  // (kTaps), of unit sum
  const float* down;  // (kTaps)
};

struct Bend {
  float frequency;  // e^alpha
  float gain;  // 1 / (e^beta + 1e-9)
};

// The iterations lane, lane + count, lane + 2 * count ...
struct Lanes {
  int lane;
  int count;
};

// The signal's first and last sample, counted from a tile's first output sample.
struct Ends {
  int first;
  int last;
};

template <typename Integer>
SLM_HOST_DEVICE inline Integer clamp(Integer value, Integer least, Integer greatest) {
  return value < least ? least : value > greatest ? greatest : value;
}

// first, last, origin (the tile's first output sample): samples of a window of so many samples.
//
// An end that the window does not hold is taken to be at the window's own first or last sample:
// either nothing outside the signal is held on that side, or nothing else is, and then the output
// means nothing (it is finite nevertheless). Ends out of the tile's reach are moved close to it.
SLM_HOST_DEVICE inline Ends ends_from(int64_t first, int64_t last, int64_t window, int64_t origin) {
  const int64_t least = -2 * kReach, greatest = kTile + 2 * kReach;
  first = clamp<int64_t>(first, 0, window - 1) - origin;
  last = clamp<int64_t>(last, 0, window - 1) - origin;
  return {static_cast<int>(clamp(first, least, greatest)),
          static_cast<int>(clamp(last, least, greatest))};
}

// Output samples 0 ... kTile - 1. The two phases of the doubled rate are kept apart, so that
// neighbours in a filter are neighbours in memory. Between two steps all lanes must have finished.
struct Tile {
  float input[kTileInput];  // samples from -5
  float even[kTilePhase];  // samples 2 * i of the doubled rate, i from -2
  float odd[kTilePhase];  // samples 2 * i + 1 of the doubled rate, i from -3

  // window: at the tile's first output sample.
  template <typename Sample>
  SLM_HOST_DEVICE void load(const Sample* window, Ends ends, Lanes lanes) {
    for (int i = lanes.lane; i < kTileInput; i += lanes.count) {
      input[i] = static_cast<float>(window[clamp(i - kReach, ends.first, ends.last)]);
    }
  }

  SLM_HOST_DEVICE void bend(Ends ends, Filters filters, Bend bend, Lanes lanes) {
    for (int i = lanes.lane; i < kTilePhase; i += lanes.count) {
      even[i] = bent(2 * (i - 2), ends, filters.up, bend);
      odd[i] = bent(2 * (i - 3) + 1, ends, filters.up, bend);
    }
  }

  // output: at the tile's first sample, of which `count` are wanted.
  template <typename Sample>
  SLM_HOST_DEVICE void store(Sample* output, int count, Filters filters, Lanes lanes) const {
    for (int i = lanes.lane; i < count; i += lanes.count) {
      float sum = 0.0f;
      for (int k = 0; k < kPhaseTaps; ++k) {
        sum += filters.down[2 * k] * odd[i + k] + filters.down[2 * k + 1] * even[i + k];
      }
      output[i] = static_cast<Sample>(sum);
    }
  }

 private:
  // Sample `position` of the doubled rate: 2 * sum of up[position + 5 - 2 j] * signal[j].
  SLM_HOST_DEVICE float bent(int position, Ends ends, const float* up, Bend bend) const {
    position = clamp(position, 2 * ends.first, 2 * ends.last + 1);
    const int parity = position & 1;
    const int oldest = (position + parity) / 2 - 3;
    const int start = clamp(oldest + kReach, 0, kTileInput - kPhaseTaps);
    float doubled = 0.0f;
    for (int k = 0; k < kPhaseTaps; ++k) {
      doubled += 2.0f * up[kTaps - 1 - parity - 2 * k] * input[start + k];
    }
    const float sine = sinf(bend.frequency * doubled);
    return doubled + bend.gain * sine * sine;
  }
};

}  // namespace slm::alias_free_snake
