// All kernels, compiled for the instruction set whose simd_*.h was included before this.
#pragma once

#if defined(SLM_HAS_TILES)
#include "kernels/amx_blocks.h"
#include "kernels/amx_products.h"
#endif
#include "kernels/attention.h"
#include "kernels/code_products.h"
#include "kernels/float_products.h"
#include "kernels/quantizing.h"
#include "kernels/snake.h"
#include "kernels/vectors.h"

namespace slm {
namespace {

constexpr Kernels make_table(const char* name) {
  return {.name = name,
          .multiply = multiply,
#if defined(SLM_HAS_TILES)
          .multiply_half = multiply_half_in_tiles,
          .multiply_blocks = multiply_blocks_in_tiles,
          .multiply_scaled = multiply_scaled_in_tiles,
#else
          .multiply_half = multiply_half,
          .multiply_blocks = multiply_blocks,
          .multiply_scaled = multiply_scaled,
#endif
          .quantize_blocks = quantize_blocks,
          .quantize_scaled = quantize_scaled,
          .to_half = to_half,
          .rms_norm = rms_norm,
          .silu_product = silu_product,
          .silu = silu_in_place,
          .layer_norm = layer_norm,
          .softmax = softmax,
          .rotate = rotate,
          .store_position = store_position,
          .attend = attend,
          .snake = snake};
}

}  // namespace
}  // namespace slm
