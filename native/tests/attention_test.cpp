// Attention of every table of kernels: the portable one against double precision, the others
// against it in bits; and a query head gives the same bits alone as beside others.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace slm {
namespace {

struct Cache {
  int head_dim, length;
  bool is_half;
  std::vector<float> keys, values;  // [position][head_dim], as the cache holds them
  std::vector<std::uint8_t> key_bytes, value_bytes;

  Cache(const Kernels& kernels, Random& random)
      : head_dim(2 * random.integer(1, 50)),
        length(random.integer(1, 90)),
        is_half(random.integer(0, 1) == 1),
        keys(random.reals(static_cast<std::size_t>(head_dim) * length)),
        values(random.reals(static_cast<std::size_t>(head_dim) * length)) {
    const std::size_t size = is_half ? 2 : 4, panels = count_panels(length);
    // What was never stored may be anything, no numbers as well.
    key_bytes.assign(panels * kPanel * head_dim * size, 0xff);
    value_bytes.assign(values.size() * size, 0xff);
    for (int t = 0; t < length; ++t) {
      kernels.store_position(&keys[static_cast<std::size_t>(t) * head_dim],
                             &values[static_cast<std::size_t>(t) * head_dim], head_dim, t, is_half,
                             key_bytes.data(), value_bytes.data());
    }
    if (is_half) {
      for (float& key : keys) key = float_from_half(half_from_float(key));
      for (float& value : values) value = float_from_half(half_from_float(value));
    }
  }
};

std::vector<float> attend(const Kernels& kernels, const Cache& cache, const float* query,
                          int group) {
  std::vector<float> output(static_cast<std::size_t>(group) * cache.head_dim);
  std::vector<float> scratch(static_cast<std::size_t>(group) * round_up(cache.length, 16));
  kernels.attend({query, cache.head_dim, cache.key_bytes.data(), cache.value_bytes.data(),
                  output.data(), cache.head_dim, scratch.data(), group, cache.head_dim,
                  cache.length, cache.is_half});
  return output;
}

double wanted(const Cache& cache, const float* query, int channel) {
  std::vector<double> scores(cache.length);
  double most = -1e30, total = 0, sum = 0;
  for (int t = 0; t < cache.length; ++t) {
    for (int d = 0; d < cache.head_dim; ++d) {
      scores[t] += double{query[d]} * cache.keys[static_cast<std::size_t>(t) * cache.head_dim + d];
    }
    most = std::max(most, scores[t]);
  }
  for (int t = 0; t < cache.length; ++t) {
    const double power = std::exp(scores[t] - most);
    total += power;
    sum += power * cache.values[static_cast<std::size_t>(t) * cache.head_dim + channel];
  }
  return sum / total;
}

void test_table(const Kernels& kernels) {
  Random random(3);
  for (int round = 0; round < 200; ++round) {
    const Cache cache(kernels, random);
    const int group = random.integer(1, 20);
    const std::vector<float> query =
        random.reals(static_cast<std::size_t>(group) * cache.head_dim, -2, 2);
    const std::vector<float> got = attend(kernels, cache, query.data(), group);
    const std::vector<float> same = attend(*find_kernels("portable"), cache, query.data(), group);
    CHECK(std::memcmp(got.data(), same.data(), got.size() * 4) == 0, kernels.name);
    for (int g = 0; g < group; ++g) {
      const float* const one = &query[static_cast<std::size_t>(g) * cache.head_dim];
      const std::vector<float> alone = attend(kernels, cache, one, 1);
      CHECK(std::memcmp(alone.data(), &got[static_cast<std::size_t>(g) * cache.head_dim],
                        alone.size() * 4) == 0,
            kernels.name);
      for (int c = 0; c < cache.head_dim; ++c) {
        CHECK(std::fabs(alone[c] - wanted(cache, one, c)) < 1e-5, kernels.name);
      }
    }
  }
  std::printf("attention: %s\n", kernels.name);
}

// Both formats of the cache have the same bits, whoever stores.
void test_stores(const Kernels& kernels) {
  for (int seed = 0; seed < 50; ++seed) {
    Random one(seed), other(seed);
    const Cache a(kernels, one), b(*find_kernels("portable"), other);
    CHECK(a.key_bytes == b.key_bytes && a.value_bytes == b.value_bytes, kernels.name);
  }
}

}  // namespace
}  // namespace slm

int main() {
  for (int i = 0; i < slm::usable_kernels().count; ++i) {
    slm::test_stores(*slm::usable_kernels().tables[i]);
    slm::test_table(*slm::usable_kernels().tables[i]);
  }
}
