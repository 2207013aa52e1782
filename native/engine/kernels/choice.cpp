// Which tables of kernels this processor can run.
//
// In: what the processor says of itself. Out: tables, fastest first.
#include <string_view>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace slm {
namespace {

KernelList find_usable() {
  KernelList list{};
  list.tables[list.count++] = &kPortable;
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
