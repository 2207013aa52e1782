// See processor.h.
#include "kernels/processor.h"

#include <cstddef>
#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace slm {

#if defined(__x86_64__)

namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros for leaves that the processor does not have.
Registers ask(unsigned leaf, unsigned subleaf) {
  Registers a;
  return __get_cpuid_count(leaf, subleaf, &a.eax, &a.ebx, &a.ecx, &a.edx) != 0 ? a : Registers{};
}

bool has_bits(unsigned value, std::initializer_list<int> bits) {
  for (const int bit : bits) {
    if ((value >> bit & 1) == 0) return false;
  }
  return true;
}

// The registers that the system keeps for a process that loses its processor (XCR0).
unsigned kept_registers() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Tiles are large, so Linux keeps them (since 5.16) only for processes that ask for it once: all
// their threads may use them then. Other systems: not known, and so no.
bool may_use_tiles() {
#if defined(__linux__)
  constexpr long kAskForRegisters = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kAskForRegisters, kTileData) == 0;
#else
  return false;
#endif
}

// As many and as large as the kernels take: "palette 1".
bool has_tiles(const Registers& extended, unsigned kept) {
  constexpr int kTileConfiguration = 17, kTileData = 18, kHalf = 22, kTiles = 24, kBytes = 25;
  if (!has_bits(kept, {kTileConfiguration, kTileData})) return false;
  if (!has_bits(extended.edx, {kHalf, kTiles, kBytes})) return false;
  const Registers palette = ask(0x1d, 1);
  const unsigned bytes_of_row = palette.ebx & 0xffff, tiles = palette.ebx >> 16;
  return bytes_of_row == 64 && tiles >= 8 && (palette.ecx & 0xffff) == 16 && may_use_tiles();
}

}  // namespace

// Not by __builtin_cpu_supports, which finds nothing in programs that zig has linked.
Processor find_processor() {
  const Registers basic = ask(1, 0), extended = ask(7, 0), more = ask(7, 1);
  Processor found;
  constexpr int kKept = 27, kAvx = 28, kFma = 12, kF16c = 29;
  if (!has_bits(basic.ecx, {kKept, kAvx, kFma, kF16c})) return found;
  const unsigned kept = kept_registers();
  constexpr int kAvx2 = 5, kFoundation = 16, kDq = 17, kBw = 30, kVl = 31, kVnni = 11;
  found.has_avx2 = has_bits(kept, {1, 2}) && has_bits(extended.ebx, {kAvx2});
  found.has_avx_vnni = found.has_avx2 && has_bits(more.eax, {4});
  found.has_avx512 = found.has_avx2 && has_bits(kept, {5, 6, 7}) &&
                     has_bits(extended.ebx, {kFoundation, kDq, kBw, kVl}) &&
                     has_bits(extended.ecx, {kVnni});
  found.has_avx512_bf16 = found.has_avx512 && has_bits(more.eax, {5});
  found.has_amx = found.has_avx512_bf16 && has_tiles(extended, kept);
  return found;
}

#elif defined(__aarch64__) && defined(__linux__)

Processor find_processor() {
  Processor found;
  const unsigned long more = getauxval(AT_HWCAP2);
  found.has_neon_dot = (getauxval(AT_HWCAP) >> 20 & 1) != 0;  // HWCAP_ASIMDDP
  found.has_neon_bf16 = found.has_neon_dot && (more >> 14 & 1) != 0;  // HWCAP2_BF16
  found.has_neon_matrix = found.has_neon_bf16 && (more >> 13 & 1) != 0;  // HWCAP2_I8MM
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
  found.has_neon_matrix = found.has_neon_bf16 && has_feature("hw.optional.arm.FEAT_I8MM");
  return found;
}

#else

Processor find_processor() { return {}; }

#endif

}  // namespace slm
