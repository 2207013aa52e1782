// Kernels of one vector: norms, activations, softmax, rotation.
//
// In and out: floats of any count; sums have 16 parts, as docs/native-engine.md says. Included
// after a simd_*.h.
#pragma once

#include <cmath>

#include "kernels/curves.h"

namespace slm {
namespace {

// operation(vector, index, count) of every 16 values; the last may be fewer, filled up with zeros.
template <typename Operation>
void for_each_16(const float* x, int count, Operation operation) {
  int i = 0;
  for (; i + kPanel <= count; i += kPanel) operation(load(x + i), i, kPanel);
  if (i < count) operation(load(x + i, count - i), i, count - i);
}

inline f32x16 load_some(const float* x, int count) {
  return count == kPanel ? load(x) : load(x, count);
}
inline void store_some(float* y, f32x16 x, int count) {
  if (count == kPanel) {
    store(y, x);
  } else {
    store(y, x, count);
  }
}

inline void rms_norm(const float* x, const float* weight, float epsilon, int count, float* y) {
  f32x16 squares = splat(0.0f);
  for_each_16(x, count, [&](f32x16 value, int, int) { squares = fma(value, value, squares); });
  const float mean = sum(squares) / static_cast<float>(count);
  const f32x16 factor = splat(1.0f / std::sqrt(mean + epsilon));
  for_each_16(x, count, [&](f32x16 value, int i, int some) {
    store_some(y + i, value * factor * load_some(weight + i, some), some);
  });
}

inline void silu_product(const float* gate_up, int count, float* y) {
  const float* const up = gate_up + count;
  for_each_16(gate_up, count, [&](f32x16 gate, int i, int some) {
    store_some(y + i, silu(gate) * load_some(up + i, some), some);
  });
}

inline void silu_in_place(float* x, int count) {
  for_each_16(x, count,
              [&](f32x16 value, int i, int some) { store_some(x + i, silu(value), some); });
}

inline void layer_norm(const float* x, const float* scale, const float* shift, float epsilon,
                       int count, float* y) {
  f32x16 total = splat(0.0f);
  for_each_16(x, count, [&](f32x16 value, int, int) { total = total + value; });
  const f32x16 mean = splat(sum(total) / static_cast<float>(count));
  f32x16 squares = splat(0.0f);
  for_each_16(x, count, [&](f32x16 value, int, int some) {
    const f32x16 centred = first(value - mean, some);
    squares = fma(centred, centred, squares);
  });
  const float variance = sum(squares) / static_cast<float>(count);
  const f32x16 factor = splat(1.0f / std::sqrt(variance + epsilon));
  for_each_16(x, count, [&](f32x16 value, int i, int some) {
    const f32x16 normed = (value - mean) * factor;
    store_some(y + i, fma(normed, load_some(scale + i, some), load_some(shift + i, some)), some);
  });
}

// e^(x - largest) in place; returns the sum.
inline float exponentiate(float* x, int count) {
  f32x16 most = splat(-INFINITY);
  for_each_16(x, count, [&](f32x16 value, int, int some) {
    if (some == kPanel) {
      most = max(most, value);
    } else {
      for (int i = count - some; i < count; ++i) most = max(most, splat(x[i]));
    }
  });
  const f32x16 top = splat(largest(most));
  f32x16 total = splat(0.0f);
  for_each_16(x, count, [&](f32x16 value, int i, int some) {
    const f32x16 power = first(exp(value - top), some);
    store_some(x + i, power, some);
    total = total + power;
  });
  return sum(total);
}

inline void softmax(float* x, int count) {
  const f32x16 total = splat(exponentiate(x, count));
  for_each_16(x, count,
              [&](f32x16 value, int i, int some) { store_some(x + i, value / total, some); });
}

inline void rotate(float* x, int heads, int head_dim, const float* cosines, const float* sines) {
  const int half = head_dim / 2;
  for (int head = 0; head < heads; ++head) {
    float* const low = x + std::ptrdiff_t{head} * head_dim;
    float* const high = low + half;
    for_each_16(low, half, [&](f32x16 a, int i, int some) {
      const f32x16 b = load_some(high + i, some);
      const f32x16 cosine = load_some(cosines + i, some), sine = load_some(sines + i, some);
      store_some(low + i, fma(a, cosine, splat(0.0f) - b * sine), some);
      store_some(high + i, fma(b, cosine, a * sine), some);
    });
  }
}

}  // namespace
}  // namespace slm
