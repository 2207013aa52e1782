// Kernels for AVX2 with AVX-VNNI: Intel since Alder Lake, AMD since Zen 5.
#include "kernels/before_vectors.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avxvnni")
#endif
#define SLM_HAS_BYTE_PRODUCTS
#include "kernels/simd_avx2.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kAvx2Bytes = make_table("avx2vnni");

}  // namespace slm

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
