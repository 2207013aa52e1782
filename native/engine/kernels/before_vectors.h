// What a file of kernels includes before it allows the compiler an instruction set: everything that
// other files define as well. The linker keeps one of equal inline functions, and it must be one
// that every processor can run.
#pragma once

// Only what is written as one multiply-add is rounded once: all tables give the same bits.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
// GCC's own header of AVX-512 is not free of them (its bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/half.h"
#include "kernels/kernels.h"
#include "kernels/tables.h"

// Loops over the sums of a tile must vanish: sums in an array that is indexed at run time are kept
// in memory.
#if defined(__clang__)
#define SLM_UNROLL _Pragma("unroll")
#else
#define SLM_UNROLL _Pragma("GCC unroll 16")
#endif
