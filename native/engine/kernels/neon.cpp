// Kernels for NEON: every 64-bit ARM.
#include "kernels/before_vectors.h"

#if defined(__aarch64__)

#include "kernels/simd_neon.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kNeon = make_table("neon");

}  // namespace slm
#endif
