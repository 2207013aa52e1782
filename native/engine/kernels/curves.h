// exp and the sine's square as polynomials, the same on every instruction set.
//
// In and out: vectors of floats. Included after a simd_*.h.
#pragma once

#include "kernels/kernels.h"

namespace slm {
namespace {

// e^x to 2 units in the last place; 0 below -87.3, where floats become subnormal, and at most
// e^88.3. x = n · ln 2 + r, and a polynomial of e^r (Cephes, expf).
inline f32x16 exp(f32x16 x) {
  const f32x16 lowest = splat(-87.3f);
  const f32x16 bounded = min(max(x, lowest), splat(88.3f));
  const f32x16 n = round(bounded * splat(1.44269504f));
  const f32x16 r = fma(n, splat(2.12194440e-4f), fma(n, splat(-0.693359375f), bounded));
  f32x16 p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r + splat(1.0f));
  return zero_below(x, lowest, p * power_of_two(to_int(n)));
}

// sin(x)^2, which has the period π: x = n · π + r in three parts of π, and a polynomial of sin(r).
inline f32x16 square_of_sine(f32x16 x) {
  const f32x16 n = round(x * splat(0.318309886f));
  f32x16 r = fma(n, splat(-3.140625f), x);
  r = fma(n, splat(-9.67502593994140625e-4f), r);
  r = fma(n, splat(-1.50995799e-7f), r);
  const f32x16 square = r * r;
  f32x16 p = splat(-2.3889859e-8f);
  p = fma(p, square, splat(2.7525562e-6f));
  p = fma(p, square, splat(-1.9840874e-4f));
  p = fma(p, square, splat(8.3333310e-3f));
  p = fma(p, square, splat(-1.6666667e-1f));
  const f32x16 sine = fma(p * square, r, r);
  return sine * sine;
}

inline f32x16 silu(f32x16 x) { return x / (splat(1.0f) + exp(splat(0.0f) - x)); }

}  // namespace
}  // namespace slm
