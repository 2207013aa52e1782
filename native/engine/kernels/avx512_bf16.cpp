// Kernels for AVX-512 with VNNI and BF16: Intel since Sapphire Rapids, AMD since Zen 4.
#include "kernels/before_vectors.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")
#endif
#define SLM_HAS_HALF_PRODUCTS
#include "kernels/simd_avx512.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kAvx512Half = make_table("avx512bf16");

}  // namespace slm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
