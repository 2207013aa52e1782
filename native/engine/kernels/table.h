// All kernels, compiled for the instruction set whose simd_*.h was included before this.
#pragma once

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
          .multiply_half = multiply_half,
          .multiply_blocks = multiply_blocks,
          .multiply_scaled = multiply_scaled,
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
