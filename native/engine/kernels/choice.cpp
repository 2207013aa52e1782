// Which tables of kernels this processor can run.
//
// In: what the processor says of itself. Out: tables, fastest first.
#include <string_view>

#include "kernels/kernels.h"
#include "kernels/tables.h"

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

#endif

KernelList find_usable() {
  KernelList list{};
  const Choice choices[] = {
#if defined(__x86_64__)
      {&kAvx512Half, has_avx512() && __builtin_cpu_supports("avx512bf16")},
      {&kAvx512, has_avx512()},
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
