// Kernels of vectors: the portable ones against double precision, all others against the portable
// ones, in bits. What lies behind a vector stays as it was.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "check.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace slm {
namespace {

const Kernels& portable() { return *find_kernels("portable"); }

bool is_near(double got, double wanted, double tolerance) {
  return std::fabs(got - wanted) <= tolerance * (1 + std::fabs(wanted));
}

using Wanted = std::function<double(int)>;
using Run = std::function<void(const Kernels&, float* y)>;

// y has `before`, then something after it that must not change.
void check_kernel(const Kernels& kernels, const std::vector<float>& before, const Run& run,
                  const Wanted& wanted, double tolerance, const char* what) {
  const std::string name = std::string(kernels.name) + ": " + what;
  std::vector<float> got = before, reference = before;
  got.push_back(7);
  run(kernels, got.data());
  CHECK(got.back() == 7, name.c_str());
  run(portable(), reference.data());
  CHECK(std::memcmp(got.data(), reference.data(), reference.size() * 4) == 0, name.c_str());
  for (std::size_t i = 0; i < reference.size(); ++i) {
    CHECK(is_near(got[i], wanted(static_cast<int>(i)), tolerance), name.c_str());
  }
}

double silu(double x) { return x / (1 + std::exp(-x)); }

void test_norms(const Kernels& kernels, Random& random, int count) {
  const std::vector<float> x = random.reals(count, -3, 5), a = random.reals(count),
                           b = random.reals(count), empty(count);
  double squares = 0, sum = 0;
  for (const float value : x) squares += double{value} * value, sum += value;
  const double mean = sum / count, variance = squares / count - mean * mean, epsilon = 1e-5;
  check_kernel(
      kernels, empty,
      [&](const Kernels& k, float* y) { k.rms_norm(x.data(), a.data(), 1e-5f, count, y); },
      [&](int i) { return x[i] * a[i] / std::sqrt(squares / count + epsilon); }, 1e-6, "rms_norm");
  // Of one value the variance is zero: nothing is left to compare but rounding.
  if (count > 2) {
    check_kernel(
        kernels, empty,
        [&](const Kernels& k, float* y) {
          k.layer_norm(x.data(), a.data(), b.data(), 1e-5f, count, y);
        },
        [&](int i) { return (x[i] - mean) / std::sqrt(variance + epsilon) * a[i] + b[i]; }, 1e-4,
        "layer_norm");
  }
}

void test_activations(const Kernels& kernels, Random& random, int count) {
  std::vector<float> x = random.reals(2 * count, -20, 20);
  x[0] = -200, x[static_cast<std::size_t>(count) - 1] = 200;
  check_kernel(
      kernels, std::vector<float>(count),
      [&](const Kernels& k, float* y) { k.silu_product(x.data(), count, y); },
      [&](int i) { return silu(x[i]) * x[count + i]; }, 1e-6, "silu_product");
  x.resize(count);
  check_kernel(
      kernels, x, [&](const Kernels& k, float* y) { k.silu(y, count); },
      [&](int i) { return silu(x[i]); }, 1e-6, "silu");
  if (count > 3) x[2] = -INFINITY;  // what must never be drawn
  const double most = *std::max_element(x.begin(), x.end());
  double total = 0;
  for (const float value : x) total += std::exp(value - most);
  check_kernel(
      kernels, x, [&](const Kernels& k, float* y) { k.softmax(y, count); },
      [&](int i) { return std::exp(x[i] - most) / total; }, 1e-6, "softmax");
}

void test_rotate(const Kernels& kernels, Random& random) {
  const int heads = random.integer(1, 5), half = random.integer(1, 70), dim = 2 * half;
  const std::vector<float> x = random.reals(heads * dim), cosines = random.reals(half),
                           sines = random.reals(half);
  check_kernel(
      kernels, x,
      [&](const Kernels& k, float* y) { k.rotate(y, heads, dim, cosines.data(), sines.data()); },
      [&](int i) {
        const int at = i % dim, pair = at % half;
        return at < half ? double{x[i]} * cosines[pair] - double{x[i + half]} * sines[pair]
                         : double{x[i]} * cosines[pair] + double{x[i - half]} * sines[pair];
      },
      1e-6, "rotate");
}

struct Quantized {
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};

void test_blocks(const Kernels& kernels, Random& random) {
  const int block = 16 * random.integer(1, 8), blocks = random.integer(1, 9);
  const int inputs = block * blocks, rows = random.integer(1, 5);
  const int valid = random.integer(std::max(1, inputs - block - 5), inputs);
  const int stride = valid + random.integer(0, 3);
  std::vector<float> x = random.reals((rows - 1) * stride + valid, -4, 4);
  if (random.integer(0, 3) == 0) std::fill(x.begin(), x.end(), 0.0f);
  std::vector<float> smoothing = random.reals(inputs, 0.1f, 3);
  std::fill(smoothing.begin() + valid, smoothing.end(), 0.0f);
  const bool is_smoothed = random.integer(0, 1) == 1;
  const auto quantize = [&](const Kernels& k) {
    Quantized q{std::vector<std::int8_t>(static_cast<std::size_t>(rows) * inputs),
                std::vector<float>(static_cast<std::size_t>(rows) * blocks),
                std::vector<std::int32_t>(static_cast<std::size_t>(rows) * blocks)};
    k.quantize_blocks(x.data(), stride, rows, valid, is_smoothed ? smoothing.data() : nullptr,
                      {q.codes.data(), q.scales.data(), q.sums.data(), inputs, block});
    return q;
  };
  const Quantized q = quantize(kernels);
  for (int r = 0; r < rows; ++r) {
    for (int b = 0; b < blocks; ++b) {
      const std::size_t at = static_cast<std::size_t>(r) * blocks + b;
      const auto value = [&](int i) {
        return i < valid ? x[r * stride + i] * (is_smoothed ? smoothing[i] : 1.0f) : 0.0f;
      };
      float most = 0;
      for (int i = b * block; i < (b + 1) * block; ++i) most = std::max(most, std::fabs(value(i)));
      std::int32_t sum = 0;
      for (int i = b * block; i < (b + 1) * block; ++i) {
        const float wanted = most > 0 ? std::nearbyint(value(i) * (127.0f / most)) : 0.0f;
        const int code = q.codes[static_cast<std::size_t>(r) * inputs + i];
        CHECK(static_cast<float>(code) == wanted, kernels.name);
        sum += code;
      }
      CHECK(q.sums[at] == sum, kernels.name);
      CHECK(q.scales[at] == most / 127.0f, kernels.name);
    }
  }
}

void test_scaled(const Kernels& kernels, Random& random) {
  const int rows = random.integer(1, 6), channels = 16 * random.integer(1, 6);
  const int stride = channels + random.integer(0, 7);
  std::vector<float> x = random.reals((rows - 1) * stride + channels, -3, 3);
  x[0] = 1e30f, x[1] = -1e30f, x[2] = 0.75f, x[3] = 0.25f;  // the last two are ties
  std::vector<std::int8_t> codes(static_cast<std::size_t>(rows) * channels);
  std::vector<std::int32_t> sums(rows);
  kernels.quantize_scaled(x.data(), stride, rows, channels, 0.5f / 15, codes.data(), sums.data());
  for (int r = 0; r < rows; ++r) {
    std::int32_t sum = 0;
    for (int c = 0; c < channels; ++c) {
      const float wanted = std::nearbyint(x[r * stride + c] / (0.5f / 15));
      const int code = codes[static_cast<std::size_t>(r) * channels + c];
      CHECK(static_cast<float>(code) == std::clamp(wanted, -127.0f, 127.0f), kernels.name);
      sum += code;
    }
    CHECK(sums[r] == sum, kernels.name);
  }
}

void test_to_half(const Kernels& kernels, Random& random) {
  std::vector<float> x = random.reals(random.integer(1, 70), -1e3f, 1e3f);
  x[0] = NAN;
  if (x.size() > 20) x[17] = NAN, x[18] = INFINITY, x[19] = -0.0f, x[20] = 1.00390625f;  // a tie
  std::vector<std::uint16_t> y(x.size() + 1, 0x1234);
  kernels.to_half(x.data(), y.data(), x.size());
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == bfloat_from_float(x[i]), kernels.name);
  CHECK(y.back() == 0x1234, kernels.name);
}

// Every float16, there and back; and what lies between neighbours.
void test_halves() {
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_from_half(half), next = float_from_half(half + 1);
    CHECK(half_from_float(value) == half, "float16 there and back");
    CHECK(half_from_float(-value) == (half | 0x8000), "negative float16 there and back");
    if (bits == 0x7bff) continue;
    const float middle = (value + next) / 2;  // a tie: to the even one
    CHECK(half_from_float(middle) == (half % 2 == 0 ? half : half + 1), "ties of float16");
    CHECK(half_from_float(std::nextafter(middle, 1e9f)) == half + 1, "above a tie");
  }
  CHECK(half_from_float(65519.0f) == 0x7bff && half_from_float(65520.0f) == 0x7c00, "overflow");
  CHECK(half_from_float(INFINITY) == 0x7c00 && half_from_float(NAN) == 0x7e00, "no numbers");
  CHECK(std::isnan(float_from_half(0x7e01)) && std::isinf(float_from_half(0xfc00)), "no numbers");
}

}  // namespace
}  // namespace slm

int main() {
  using namespace slm;
  test_halves();
  for (int i = 0; i < usable_kernels().count; ++i) {
    const Kernels& kernels = *usable_kernels().tables[i];
    Random random(2);
    for (int count = 1; count < 70; ++count) {
      test_norms(kernels, random, count);
      test_activations(kernels, random, count);
      test_rotate(kernels, random);
      test_blocks(kernels, random);
      test_scaled(kernels, random);
      test_to_half(kernels, random);
    }
    std::printf("vectors: %s\n", kernels.name);
  }
}
