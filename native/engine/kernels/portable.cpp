// Kernels in plain C++: the reference for all others, and what runs where no other table does.
#include "kernels/before_vectors.h"
//
#include "kernels/simd_portable.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"

namespace slm {

const Kernels kPortable = make_table("portable");

}  // namespace slm
