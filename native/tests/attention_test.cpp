// Attention of every table of kernels: the portable one against double precision, the others
// against it in bits; and a query head gives the same bits alone as beside others.
#include <algorithm>
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

// x as int8 codes of blocks hold it: what is left of it is within half a step.
std::vector<float> in_codes(const float* x, int count, int block) {
  std::vector<float> held(x, x + count);
  for (int begin = 0; begin < count; begin += block) {
    const int end = std::min(begin + block, count);
    float most = 0;
    for (int i = begin; i < end; ++i) most = std::max(most, std::fabs(x[i]));
    for (int i = begin; i < end && most > 0; ++i) {
      held[i] = std::nearbyint(x[i] * (127.0f / most)) * (most / 127.0f);
    }
  }
  return held;
}

struct Cache {
  int head_dim, length;
  CacheFormat format;
  std::vector<float> keys, values;  // [position][head_dim], as the cache holds them
  std::vector<std::uint8_t> key_bytes, value_bytes;

  Cache(const Kernels& kernels, Random& random)
      : head_dim(2 * random.integer(1, 50)),
        length(random.integer(1, 200)),
        format(static_cast<CacheFormat>(random.integer(0, 2))),
        keys(random.reals(static_cast<std::size_t>(head_dim) * length)),
        values(random.reals(static_cast<std::size_t>(head_dim) * length)) {
    const std::size_t panels = count_panels(length);
    // What was never stored may be anything, no numbers as well.
    key_bytes.assign(panels * key_panel_bytes(format, head_dim), 0xff);
    value_bytes.assign(panels * value_panel_bytes(format, head_dim), 0xff);
    for (int t = 0; t < length; ++t) {
      kernels.store_position(key(t), value(t), head_dim, t, format, key_bytes.data(),
                             value_bytes.data());
      hold(key(t), kKeyBlock);
      hold(value(t), head_dim);
    }
  }

  float* key(int position) { return &keys[static_cast<std::size_t>(position) * head_dim]; }
  float* value(int position) { return &values[static_cast<std::size_t>(position) * head_dim]; }

 private:
  void hold(float* x, int block) const {
    if (format == CacheFormat::float16) {
      for (int d = 0; d < head_dim; ++d) x[d] = float_from_half(half_from_float(x[d]));
    } else if (format == CacheFormat::int8) {
      const std::vector<float> held = in_codes(x, head_dim, block);
      std::copy(held.begin(), held.end(), x);
    }
  }
};

std::vector<float> attend(const Kernels& kernels, const Cache& cache, const float* query,
                          int group) {
  std::vector<float> output(static_cast<std::size_t>(group) * cache.head_dim);
  std::vector<float> scratch(static_cast<std::size_t>(group) * round_up(cache.length, 16));
  kernels.attend({query, cache.head_dim, cache.key_bytes.data(), cache.value_bytes.data(),
                  output.data(), cache.head_dim, scratch.data(), group, cache.head_dim,
                  cache.length, cache.format});
  return output;
}

struct Wanted {
  double value;
  double room;  // what codes of the weights may change in it
};

Wanted wanted(const Cache& cache, const float* given, int channel) {
  const bool has_codes = cache.format == CacheFormat::int8;
  const std::vector<float> query =
      has_codes ? in_codes(given, cache.head_dim, kKeyBlock)
                : std::vector<float>(given, given + cache.head_dim);
  std::vector<double> scores(cache.length);
  double most = -1e30, total = 0, sum = 0, room = 0;
  for (int t = 0; t < cache.length; ++t) {
    for (int d = 0; d < cache.head_dim; ++d) {
      scores[t] += double{query[d]} * cache.keys[static_cast<std::size_t>(t) * cache.head_dim + d];
    }
    most = std::max(most, scores[t]);
  }
  for (int first = 0; first < cache.length; first += 64) {  // positions whose codes share a scale
    double largest = 0, codes = 0;
    for (int t = first; t < std::min(first + 64, cache.length); ++t) {
      const float* const values = &cache.values[static_cast<std::size_t>(t) * cache.head_dim];
      const double power = std::exp(scores[t] - most);
      double step = 0;
      for (int d = 0; d < cache.head_dim; ++d) step = std::max(step, std::fabs(values[d] / 127.0));
      total += power;
      sum += power * values[channel];
      largest = std::max(largest, power * step);
      codes += std::fabs(values[channel]) / step;
    }
    room += has_codes ? 0.5 * largest / 127 * codes : 0;
  }
  return {sum / total, room / total};
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
        const Wanted exact = wanted(cache, one, c);
        CHECK(std::fabs(alone[c] - exact.value) < exact.room + 1e-5, kernels.name);
      }
    }
  }
  std::printf("attention: %s\n", kernels.name);
}

// All formats of the cache have the same bits, whoever stores.
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
