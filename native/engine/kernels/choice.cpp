// Which tables of kernels this processor can run.
//
// In: what the processor says of itself. Out: tables, fastest first.
#include <string_view>

#include "kernels/kernels.h"
#include "kernels/tables.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace slm {
namespace {

struct Choice {
  const Kernels* kernels;
  bool is_usable;
};

#if defined(__x86_64__)

// __builtin_cpu_supports asks the system as well, whether it keeps the wide registers.
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

// Compilers of before 2023 do not know its name; it is bit 4 of EAX of leaf 7, subleaf 1.
bool has_avx_vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

#endif

KernelList find_usable() {
  KernelList list{};
  const Choice choices[] = {
#if defined(__x86_64__)
      {&kAvx512Half, has_avx512() && __builtin_cpu_supports("avx512bf16")},
      {&kAvx512, has_avx512()},
      {&kAvx2Bytes, has_avx2() && has_avx_vnni()},
      {&kAvx2, has_avx2()},
#endif
      {&kPortable, true},
  };
  for (const Choice& choice : choices) {
    if (choice.is_usable) list.tables[list.count++] = choice.kernels;
  }
  return list;
}

}  // namespace

const KernelList& usable_kernels() {
  static const KernelList list = find_usable();
  return list;
}

const Kernels* find_kernels(const char* name) {
  const KernelList& list = usable_kernels();
  if (name == nullptr) return list.tables[0];
  for (int i = 0; i < list.count; ++i) {
    if (std::string_view(name) == list.tables[i]->name) return list.tables[i];
  }
  return nullptr;
}

}  // namespace slm
