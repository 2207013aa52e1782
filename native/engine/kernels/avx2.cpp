// Kernels for AVX2 with FMA and F16C: Intel since Haswell, AMD since Zen.
#include "kernels/before_vectors.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#include "kernels/simd_avx2.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kAvx2 = make_table("avx2");

}  // namespace slm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
