// Products by tiles (AMX), with tiles in software: all but the instructions, on every processor.
#include "kernels/before_vectors.h"

#define SLM_HAS_TILES
#define SLM_TILES_IN_SOFTWARE
#include "kernels/simd_portable.h"
// The vectors come first: the kernels are written in them.
#include "kernels/table.h"
#include "products_checks.h"

namespace slm {

const Kernels kSoftwareTiles = make_table("tiles in software");

}  // namespace slm

int main() { slm::test_table(slm::kSoftwareTiles); }
