// See products.h.
#include "limits/products.h"

#include "kernels/processor.h"
#include "limits/rounds.h"

namespace slm {
namespace {

constexpr long kSteps = 1'000'000;
constexpr int kChains = 10;  // multiply-adds that do not wait for each other

// One instruction in as many registers as there are chains, kSteps times.
#if defined(__x86_64__)
#define SLM_REPEAT(instruction)                                                                \
  long long steps = kSteps;                                                                    \
  asm volatile("1:\n.irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n" instruction "\n.endr\n"             \
               "decq %0\njnz 1b\n"                                                             \
               : "+r"(steps)                                                                   \
               :                                                                               \
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                 "xmm9", "xmm10")

void floats_of_512_bits(int) { SLM_REPEAT("vfmadd231ps %%zmm10, %%zmm10, %%zmm\\r"); }
void floats_of_256_bits(int) { SLM_REPEAT("vfmadd231ps %%ymm10, %%ymm10, %%ymm\\r"); }
void halves_of_512_bits(int) { SLM_REPEAT("vdpbf16ps %%zmm10, %%zmm10, %%zmm\\r"); }
void bytes_of_512_bits(int) { SLM_REPEAT("vpdpbusd %%zmm10, %%zmm10, %%zmm\\r"); }
#elif defined(__aarch64__)
#define SLM_REPEAT(instruction)                                                              \
  long long steps = kSteps;                                                                  \
  asm volatile("1:\n.irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n" instruction "\n.endr\n"           \
               "subs %0, %0, #1\nb.ne 1b\n"                                                  \
               : "+r"(steps)                                                                 \
               :                                                                             \
               : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10")
// As in kernels/neon_half.cpp, for one function.
#if defined(__clang__)
#define SLM_BYTES __attribute__((target("dotprod")))
#define SLM_HALVES __attribute__((target("bf16")))
#define SLM_MATRICES __attribute__((target("bf16,i8mm")))
#else
#define SLM_BYTES __attribute__((target("arch=armv8.2-a+dotprod")))
#define SLM_HALVES __attribute__((target("arch=armv8.2-a+bf16")))
#define SLM_MATRICES __attribute__((target("arch=armv8.2-a+bf16+i8mm")))
#endif

void floats_of_128_bits(int) { SLM_REPEAT("fmla v\\r\\().4s, v10.4s, v10.4s"); }
SLM_HALVES void halves_of_128_bits(int) { SLM_REPEAT("bfdot v\\r\\().4s, v10.8h, v10.8h"); }
SLM_BYTES void bytes_of_128_bits(int) { SLM_REPEAT("sdot v\\r\\().4s, v10.16b, v10.16b"); }
SLM_MATRICES void half_matrices(int) { SLM_REPEAT("bfmmla v\\r\\().4s, v10.8h, v10.8h"); }
SLM_MATRICES void byte_matrices(int) { SLM_REPEAT("usmmla v\\r\\().4s, v10.16b, v10.16b"); }
#endif

struct Instruction {
  const char* format;
  void (*repeat)(int thread);
  int products;  // of one instruction
};

std::vector<Instruction> find_instructions() {
  const Processor processor = find_processor();
  std::vector<Instruction> found;
#if defined(__x86_64__)
  if (processor.has_avx512) {
    found.push_back({"fp32", floats_of_512_bits, 16});
  } else if (processor.has_avx2) {
    found.push_back({"fp32", floats_of_256_bits, 8});
  }
  if (processor.has_avx512_bf16) found.push_back({"bf16", halves_of_512_bits, 32});
  if (processor.has_avx512) found.push_back({"int8", bytes_of_512_bits, 64});
#elif defined(__aarch64__)
  found.push_back({"fp32", floats_of_128_bits, 4});
  if (processor.has_neon_matrix) {
    found.push_back({"bf16", half_matrices, 16});
    found.push_back({"int8", byte_matrices, 32});
    return found;
  }
  if (processor.has_neon_bf16) found.push_back({"bf16", halves_of_128_bits, 8});
  if (processor.has_neon_dot) found.push_back({"int8", bytes_of_128_bits, 16});
#else
  static_cast<void>(processor);
#endif
  return found;
}

}  // namespace

std::vector<ProductRate> measure_products(int threads, double seconds) {
  std::vector<ProductRate> rates;
  for (const Instruction& one : find_instructions()) {
    const double best = fastest_round(threads, seconds, one.repeat);
    const double products = static_cast<double>(kSteps) * kChains * one.products * threads;
    rates.push_back({one.format, products / best});
  }
  return rates;
}

}  // namespace slm
