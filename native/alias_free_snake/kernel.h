// The alias-free SnakeBeta on a CUDA device.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace slm::alias_free_snake {

enum class SampleType { kFloat, kHalf, kBfloat16 };

// Device memory. `window` and `output` are of one SampleType; all else is as it says here.
struct Tensors {
  const void* window;  // (batch, channels, 1, samples + 2 * kReach)
  const float* frequency;  // (channels)
  const float* gain;  // (channels)
  const float* up;  // (kTaps)
  const float* down;  // (kTaps)
  const int64_t* ends;  // (batch, 2), where in the window the signal's first and last sample are
  void* output;  // (batch, channels, 1, samples)
};

struct Sizes {
  int64_t batch;
  int64_t channels;
  int64_t samples;
};

// Enqueues the kernel; the error is that of the launch.
cudaError_t launch(SampleType type, const Tensors& tensors, const Sizes& sizes, cudaStream_t stream);

}  // namespace slm::alias_free_snake
