// How many multiply-adds a second this machine's processors do.
//
// In: a number of threads. Out: a rate for each number format that the processor has instructions
// for. Registers only, no memory.
#pragma once

#include <vector>

namespace slm {

struct ProductRate {
  const char* format;  // "fp32", "bf16", "int8"
  double per_second;
};

// Each of them takes about `seconds`, or two rounds.
std::vector<ProductRate> measure_products(int threads, double seconds);

}  // namespace slm
