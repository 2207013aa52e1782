// The tables of kernels that there are for this kind of processor, each from a file of its own.
#pragma once

#include "kernels/kernels.h"

namespace slm {

extern const Kernels kPortable;
#if defined(__x86_64__)
extern const Kernels kAvx2;
extern const Kernels kAvx2Bytes;  // and products of bytes (AVX-VNNI)
extern const Kernels kAvx512;
extern const Kernels kAvx512Half;  // and products of bfloat16
extern const Kernels kAvx512Tiles;  // and AMX
#elif defined(__aarch64__)
extern const Kernels kNeon;
extern const Kernels kNeonBytes;  // and products of bytes (dotprod)
extern const Kernels kNeonHalf;  // and products of bfloat16
extern const Kernels kNeonMatrix;  // and matrix products of both (i8mm)
#endif

}  // namespace slm
