// See processor.h.
#include "kernels/processor.h"

#include <cstddef>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace slm {

#if defined(__x86_64__)

namespace {

// Bit `bit` of EAX of leaf 7, subleaf 1, whose names the older compilers do not know.
bool has_extension(int bit) {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> bit & 1) != 0;
}

}  // namespace

// __builtin_cpu_supports asks the system as well, whether it keeps the wide registers.
Processor find_processor() {
  __builtin_cpu_init();
  Processor found;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  const bool has_f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 29 & 1) != 0;
  found.has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c;
  found.has_avx_vnni = found.has_avx2 && has_extension(4);
  found.has_avx512 = found.has_avx2 && __builtin_cpu_supports("avx512f") &&
                     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  found.has_avx512_bf16 = found.has_avx512 && has_extension(5);
  return found;
}

#elif defined(__aarch64__) && defined(__linux__)

Processor find_processor() {
  Processor found;
  found.has_neon_dot = (getauxval(AT_HWCAP) >> 20 & 1) != 0;  // HWCAP_ASIMDDP
  found.has_neon_bf16 = found.has_neon_dot && (getauxval(AT_HWCAP2) >> 14 & 1) != 0;  // HWCAP2_BF16
  return found;
}

#elif defined(__aarch64__) && defined(__APPLE__)

namespace {

bool has_feature(const char* name) {
  int value = 0;
  std::size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

}  // namespace

Processor find_processor() {
  Processor found;
  found.has_neon_dot = has_feature("hw.optional.arm.FEAT_DotProd");
  found.has_neon_bf16 = found.has_neon_dot && has_feature("hw.optional.arm.FEAT_BF16");
  return found;
}

#else

Processor find_processor() { return {}; }

#endif

}  // namespace slm
