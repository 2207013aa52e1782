// Kernels for AVX-512 with BF16, and products of many rows by AMX: Intel's servers since Sapphire
// Rapids.
#include "kernels/before_vectors.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")
#endif
#define SLM_HAS_HALF_PRODUCTS
#define SLM_HAS_TILES
#include "kernels/simd_avx512.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kAvx512Tiles = make_table("avx512amx");

}  // namespace slm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
