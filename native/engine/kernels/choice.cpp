// Which tables of kernels this processor can run.
//
// In: what the processor can do. Out: tables, fastest first.
#include <string_view>

#include "kernels/kernels.h"
#include "kernels/processor.h"
#include "kernels/tables.h"

namespace slm {
namespace {

struct Choice {
  const Kernels* kernels;
  bool is_usable;
};

KernelList find_usable() {
  [[maybe_unused]] const Processor processor = find_processor();
  const Choice choices[] = {
#if defined(__x86_64__)
      {&kAvx512Tiles, processor.has_amx},
      {&kAvx512Half, processor.has_avx512_bf16},
      {&kAvx512, processor.has_avx512},
      {&kAvx2Bytes, processor.has_avx_vnni},
      {&kAvx2, processor.has_avx2},
#elif defined(__aarch64__)
      {&kNeonMatrix, processor.has_neon_matrix},
      {&kNeonHalf, processor.has_neon_bf16},
      {&kNeonBytes, processor.has_neon_dot},
      {&kNeon, true},
#endif
      {&kPortable, true},
  };
  KernelList list{};
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
