// One block makes one tile of one channel: it reads the tile's input once, keeps the bent samples
// of the doubled rate in shared memory, and writes the output once.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core.h"
#include "kernel.h"

namespace slm::alias_free_snake {
namespace {

constexpr int kThreads = 256;

template <typename Sample>
__global__ void __launch_bounds__(kThreads) alias_free_snake(Tensors tensors, Sizes sizes) {
  __shared__ Tile tile;
  __shared__ float taps[2 * kTaps];
  const Lanes lanes{static_cast<int>(threadIdx.x), kThreads};
  const int64_t tiles = (sizes.samples + kTile - 1) / kTile;
  const int64_t row = blockIdx.x / tiles, start = blockIdx.x % tiles * kTile;
  const int64_t window_samples = sizes.samples + 2 * kReach;
  const Sample* window = static_cast<const Sample*>(tensors.window) + row * window_samples;
  Sample* output = static_cast<Sample*>(tensors.output) + row * sizes.samples + start;
  const int channel = static_cast<int>(row % sizes.channels);
  const Bend bend{tensors.frequency[channel], tensors.gain[channel]};
  const int64_t origin = start + kReach;  // in the window
  const int64_t* signal = tensors.ends + 2 * (row / sizes.channels);
  const Ends ends = ends_from(signal[0], signal[1], window_samples, origin);
  const Filters filters{taps, taps + kTaps};
  const int64_t left = sizes.samples - start;

  if (lanes.lane < 2 * kTaps) {
    taps[lanes.lane] =
        lanes.lane < kTaps ? tensors.up[lanes.lane] : tensors.down[lanes.lane - kTaps];
  }
  tile.load(window + origin, ends, lanes);
  __syncthreads();
  tile.bend(ends, filters, bend, lanes);
  __syncthreads();
  tile.store(output, static_cast<int>(left < kTile ? left : kTile), filters, lanes);
}

template <typename Sample>
cudaError_t launch_for(const Tensors& tensors, const Sizes& sizes, cudaStream_t stream) {
  const int64_t tiles = (sizes.samples + kTile - 1) / kTile;
  const int64_t blocks = sizes.batch * sizes.channels * tiles;
  if (blocks == 0) {
    return cudaSuccess;
  }
  if (blocks > INT32_MAX) {
    return cudaErrorInvalidConfiguration;
  }
  alias_free_snake<Sample>
      <<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(tensors, sizes);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch(SampleType type, const Tensors& tensors, const Sizes& sizes,
                   cudaStream_t stream) {
  switch (type) {
    case SampleType::kFloat:
      return launch_for<float>(tensors, sizes, stream);
    case SampleType::kHalf:
      return launch_for<__half>(tensors, sizes, stream);
    case SampleType::kBfloat16:
      return launch_for<__nv_bfloat16>(tensors, sizes, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace slm::alias_free_snake
