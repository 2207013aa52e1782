// Kernels for AVX-512 with VNNI: Intel since Ice Lake, AMD since Zen 4.
#include "kernels/before_vectors.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#endif
#include "kernels/simd_avx512.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kAvx512 = make_table("avx512");

}  // namespace slm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
