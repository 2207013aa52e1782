// Kernels for NEON with matrix products of bytes and bfloat16: Neoverse V1 and N2, Apple since M2.
#include "kernels/before_vectors.h"

#if defined(__aarch64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod,bf16,i8mm"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod+bf16+i8mm")
#endif
#define SLM_HAS_BYTE_PRODUCTS
#define SLM_HAS_HALF_PRODUCTS
#define SLM_HAS_MATRIX_PRODUCTS
#include "kernels/simd_neon.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kNeonMatrix = make_table("neoni8mm");

}  // namespace slm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
