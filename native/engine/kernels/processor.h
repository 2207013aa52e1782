// What this processor can do, and its system lets it do.
#pragma once

namespace slm {

struct Processor {
  bool has_avx2 = false;  // with FMA and F16C
  bool has_avx_vnni = false;
  bool has_avx512 = false;  // F, BW, DQ, VL and VNNI
  bool has_avx512_bf16 = false;
  bool has_amx = false;  // tiles, products of int8 and bfloat16, with AVX-512 BF16
  bool has_neon_dot = false;
  bool has_neon_bf16 = false;
  bool has_neon_matrix = false;  // i8mm, with both
};

Processor find_processor();

}  // namespace slm
