// The tables of kernels that there are for this kind of processor, each compiled in a file of its own.
#pragma once

#include "kernels/kernels.h"

namespace slm {

extern const Kernels kPortable;

}  // namespace slm
