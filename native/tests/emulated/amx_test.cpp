// Products by AMX, on a processor that has it, or on an emulated one (run.py).
#include <cstdio>

#include "../products_checks.h"

namespace {

// What the processor says of -1 · 1 in bytes, four times. Bochs 3.0 reads signed bytes as unsigned.
int multiply_bytes() {
  alignas(64) unsigned char shapes[64] = {1};
  for (int tile = 0; tile < 3; ++tile) {
    shapes[16 + 2 * tile] = 4;  // bytes of a row
    shapes[48 + tile] = 1;      // rows
  }
  alignas(64) const unsigned char inputs[64] = {255, 255, 255, 255}, weights[64] = {1, 1, 1, 1};
  alignas(64) int sum[16] = {};
  const long stride = 64;
  asm volatile(
      "ldtilecfg %0\n"
      "tilezero %%tmm0\n"
      "tileloadd (%1,%4,1), %%tmm1\n"
      "tileloadd (%2,%4,1), %%tmm2\n"
      "tdpbsud %%tmm2, %%tmm1, %%tmm0\n"
      "tilestored %%tmm0, (%3,%4,1)\n"
      "tilerelease\n"
      :
      : "m"(shapes), "r"(inputs), "r"(weights), "r"(sum), "r"(stride)
      : "memory");
  return sum[0];
}

}  // namespace

int main() {
  const slm::Kernels* const kernels = slm::find_kernels("avx512amx");
  if (kernels == nullptr) {
    std::printf("error: this processor has no AMX, or the system does not let programs use it\n");
    return 1;
  }
  const int product = multiply_bytes();
  if (product != -4 && product != 4 * 255) {
    std::printf("error: -4 in bytes is %d here\n", product);
    return 1;
  }
  if (product != -4) {
    std::printf("warning: signed bytes are unsigned here: inputs below 0 are left out\n");
  }
  slm::test_table(*kernels, product == -4 ? -127 : 0);
}
