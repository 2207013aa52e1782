// Kernels for NEON with products of bytes: Cortex-A75 and later, Apple since A13.
#include "kernels/before_vectors.h"

#if defined(__aarch64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#define SLM_HAS_BYTE_PRODUCTS
#include "kernels/simd_neon.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kNeonBytes = make_table("neondot");

}  // namespace slm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
