// How fast the products are, against what this machine can read and multiply, in the same run.
//
//   bench_products [kernels]
//
// The published size: 24 layers of Qwen2.5-0.5B's four products, and the shapes of its codec's
// convolutions. Limits, and what runs on one thread for a moment, are the best of several rounds;
// steps are given as medians, and at their best in brackets.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "../tests/check.h"
#include "kernels/kernels.h"
#include "memory.h"
#include "threads/pool.h"

namespace slm {
namespace {

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Times {
  double median, least;
};

Times measure(int rounds, const std::function<void()>& work) {
  std::vector<double> times;
  work();
  for (int i = 0; i < rounds; ++i) times.push_back(seconds(work));
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

double least_seconds(const std::function<void()>& work) { return measure(15, work).least; }

// Bytes a second that `threads` threads read of memory in large pages.
double read_rate(const LargeMemory& memory, int threads) {
  constexpr int kPieces = 64;
  std::vector<std::uint64_t> sums(kPieces);
  const std::size_t words = memory.size() / kPieces / 8;
  double best = 1e9;
  for (int round = 0; round < 6; ++round) {
    best = std::min(best, seconds([&] {
      Pool::shared().run(threads, kPieces, [&](int piece) {
        const auto* p = reinterpret_cast<const std::uint64_t*>(memory.data()) + piece * words;
        std::uint64_t part[16] = {};
        for (std::size_t i = 0; i + 16 <= words; i += 16) {
          for (int k = 0; k < 16; ++k) part[k] += p[i + k];
        }
        for (const std::uint64_t one : part) sums[static_cast<std::size_t>(piece)] += one;
      });
    }));
  }
  return static_cast<double>(memory.size()) / best;
}

struct Shape {
  int outputs, inputs;
};
constexpr Shape kLayer[] = {{1152, 896}, {896, 896}, {9728, 896}, {896, 4864}};
constexpr int kLayers = 24, kMostInputs = 4864, kMostOutputs = 9728;

// All matrices of a step, one behind the other in large pages. What they hold does not matter.
struct Step {
  std::vector<Matrix> matrices;
  std::size_t bytes = 0;

  Step(Format format, int block, LargeMemory& memory) {
    for (int layer = 0; layer < kLayers; ++layer) {
      for (const Shape& shape : kLayer) add(format, block, shape, memory);
    }
  }

 private:
  void add(Format format, int block, Shape shape, LargeMemory& memory) {
    Matrix m;
    m.format = format;
    m.outputs = shape.outputs;
    m.inputs = m.channels = shape.inputs;
    m.block = block;
    m.scale_blocks = format == Format::int4 ? shape.inputs / block : 1;
    const std::size_t weights = std::size_t{1} * shape.outputs * shape.inputs;
    const std::size_t code_bytes = format == Format::int4   ? weights / 2
                                   : format == Format::int8 ? weights
                                   : format == Format::fp32 ? weights * 4
                                                            : weights * 2;
    const std::size_t scale_bytes = std::size_t{2} * shape.outputs * m.scale_blocks;
    m.codes = memory.data() + bytes;
    m.scales = reinterpret_cast<const std::uint16_t*>(memory.data() + bytes + code_bytes);
    bytes += round_up(static_cast<int>(code_bytes + scale_bytes), 64);
    matrices.push_back(m);
  }
};

struct Activations {
  std::vector<std::int8_t> codes;
  std::vector<float> scales, x, y;
  std::vector<std::int32_t> sums;

  explicit Activations(int rows)
      : codes(std::size_t{1} * rows * kMostInputs, 3),
        scales(std::size_t{1} * rows * kMostInputs / 32, 0.01f),
        x(std::size_t{1} * rows * kMostInputs, 0.5f),
        y(std::size_t{1} * rows * kMostOutputs),
        sums(scales.size(), 96) {}
};

void run_step(const Kernels& kernels, const Step& step, Activations& a, int rows, int threads) {
  for (const Matrix& m : step.matrices) {
    const int pieces = threads == 1 ? 1 : std::min(m.panels(), 4 * threads);
    Pool::shared().run(threads, pieces, [&](int piece) {
      const Part part{rows, m.panels() * piece / pieces, m.panels() * (piece + 1) / pieces};
      const Output output{a.y.data(), m.outputs};
      if (m.format == Format::int8 || m.format == Format::int4) {
        const BlockRows x{a.codes.data(), a.scales.data(), a.sums.data(), m.inputs, m.block};
        kernels.multiply_blocks(m, x, output, part);
      } else {
        kernels.multiply(m, {a.x.data(), m.inputs, m.inputs, 1, 0}, output, part);
      }
    });
  }
}

void measure_steps(const Kernels& kernels, LargeMemory& memory) {
  struct Kind {
    const char* name;
    Format format;
    int block;
  };
  for (int threads = 1; threads <= Pool::shared().threads(); ++threads) {
    const double rate = read_rate(memory, threads);
    std::printf("%d threads read %.1f GB/s\n", threads, rate / 1e9);
    for (const Kind kind : {Kind{"int8", Format::int8, 128}, Kind{"int4", Format::int4, 32},
                            Kind{"bf16", Format::bf16, 0}, Kind{"fp16", Format::fp16, 0}}) {
      const Step step(kind.format, kind.block, memory);
      double alone = 0;
      for (const int rows : {1, 4, 16, 32, 128}) {
        Activations activations(rows);
        const auto [median, least] = measure(rows > 16 ? 3 : 15, [&] {
          run_step(kernels, step, activations, rows, threads);
        });
        if (rows == 1) alone = least;
        const double bytes = static_cast<double>(step.bytes);
        std::printf("  %s %3d rows: %6.1f ms, %4.1f GB/s (%.1f ms, %4.1f GB/s, %.0f %%, %.2f x one "
                    "row)\n",
                    kind.name, rows, median * 1e3, bytes / median / 1e9, least * 1e3,
                    bytes / least / 1e9, 100 * bytes / least / rate, least / alone);
      }
    }
  }
}

// Multiply-adds a second of one thread, with weights and inputs that stay in the first cache.
double peak_rate(const Kernels& kernels, LargeMemory& memory) {
  Matrix m;
  m.outputs = 32;
  m.inputs = m.channels = 128;
  m.codes = memory.data();
  std::vector<float> x(128 * 48, 0.5f), y(32 * 48);
  const double took = least_seconds([&] {
    for (int i = 0; i < 200; ++i) {
      kernels.multiply(m, {x.data(), 128, 128, 1, 0}, {y.data(), 32}, {48, 0, 2});
    }
  });
  return 200.0 * 32 * 128 * 48 / took;
}

void measure_convolutions(const Kernels& kernels, LargeMemory& memory) {
  const double peak = peak_rate(kernels, memory);
  std::printf("one thread, fp32 in the first cache: %.0f Gmac/s\n", peak / 1e9);
  for (const Shape shape : {Shape{512, 512}, Shape{256, 256}, Shape{128, 128}, Shape{64, 64}}) {
    const int taps = 7, rows = 256, dilation = 3;
    const std::size_t signal = std::size_t{1} * (rows + (taps - 1) * dilation) * shape.inputs;
    const std::vector<float> x(signal, 0.5f);
    const std::vector<std::uint16_t> half(signal, 0x3f00);
    const std::vector<std::int8_t> codes(signal, 3);
    const std::vector<std::int32_t> sums(signal / shape.inputs, 3 * shape.inputs);
    std::vector<float> y(std::size_t{1} * rows * shape.outputs);
    Matrix m;
    m.outputs = shape.outputs;
    m.channels = shape.inputs;
    m.taps = taps;
    m.inputs = taps * shape.inputs;
    m.codes = memory.data();
    m.scales = reinterpret_cast<const std::uint16_t*>(memory.data());
    m.scale_blocks = 1;
    const std::ptrdiff_t row = shape.inputs, tap = row * dilation;
    const Output output{y.data(), m.outputs};
    const Part all{rows, 0, m.panels()};
    const double fp32 = least_seconds([&] {
      m.format = Format::fp32;
      kernels.multiply(m, {x.data(), row, m.channels, taps, tap}, output, all);
    });
    const double bf16 = least_seconds([&] {
      m.format = Format::bf16;
      kernels.multiply_half(m, {half.data(), row, m.channels, taps, tap}, output, all);
    });
    const double int8 = least_seconds([&] {
      m.format = Format::int8;
      const ScaledRows scaled{{codes.data(), row, m.channels, taps, tap}, sums.data(), 1, dilation,
                              0.01f};
      kernels.multiply_scaled(m, scaled, output, all);
    });
    const double work = 1.0 * rows * m.outputs * m.inputs;
    std::printf("  convolution %d <- 7 x %d, 256 rows: fp32 %.0f Gmac/s (%.0f %%), bf16 %.2f x, "
                "int8 %.2f x\n",
                shape.outputs, shape.inputs, work / fp32 / 1e9, 100 * work / fp32 / peak,
                fp32 / bf16, fp32 / int8);
  }
}

void measure_snake(const Kernels& kernels) {
  const int channels = 128, rows = 512;
  std::vector<float> x(std::size_t{1} * (rows + 10) * channels, 0.5f), y(x.size());
  const std::vector<float> bend(channels, 1.5f), filter(12, 0.1f);
  for (const bool is_alias_free : {false, true}) {
    const Snake snake{bend.data(), bend.data(), is_alias_free ? filter.data() : nullptr,
                      filter.data(), channels};
    const double took = least_seconds([&] {
      kernels.snake(snake, {x.data(), channels, 0, rows + 9}, rows, y.data(), channels);
    });
    std::printf("snake, %s: %.2f ns a value\n", is_alias_free ? "alias-free" : "plain",
                took * 1e9 / rows / channels);
  }
}

void measure_attention(const Kernels& kernels, CacheFormat format, const char* name, int length) {
  constexpr int kGroup = 7, kHeadDim = 64;
  const std::size_t panels = static_cast<std::size_t>(count_panels(length));
  std::vector<std::uint8_t> keys(panels * key_panel_bytes(format, kHeadDim));
  std::vector<std::uint8_t> values(panels * value_panel_bytes(format, kHeadDim));
  Random random(1);
  for (int position = 0; position < length; ++position) {
    kernels.store_position(random.reals(kHeadDim).data(), random.reals(kHeadDim).data(), kHeadDim,
                           position, format, keys.data(), values.data());
  }
  std::vector<float> query(kGroup * kHeadDim, 0.1f), output = query;
  std::vector<float> scratch(std::size_t{1} * kGroup * round_up(length, kPanel));
  const Attention attention{query.data(), kHeadDim, keys.data(), values.data(), output.data(),
                            kHeadDim, scratch.data(), kGroup, kHeadDim, length, format};
  const double took = least_seconds([&] {
    for (int i = 0; i < 20; ++i) kernels.attend(attention);
  }) / 20;
  std::printf("attention of 7 heads over %4d positions in %s: %5.1f us, 48 of them %.2f ms\n", length,
              name, took * 1e6, took * 48e3);
}

void measure_attentions(const Kernels& kernels) {
  for (const int length : {256, 2048}) {
    measure_attention(kernels, CacheFormat::float32, "float32", length);
    measure_attention(kernels, CacheFormat::float16, "float16", length);
    measure_attention(kernels, CacheFormat::int8, "int8", length);
  }
}

}  // namespace
}  // namespace slm

int main(int count, char** arguments) {
  const slm::Kernels* const kernels = slm::find_kernels(count > 1 ? arguments[1] : nullptr);
  if (kernels == nullptr) {
    std::fprintf(stderr, "bench_products: this processor has no kernels called %s\n", arguments[1]);
    return 2;
  }
  std::printf("kernels: %s\n", kernels->name);
  slm::LargeMemory memory(std::size_t{800} << 20);
  slm::measure_convolutions(*kernels, memory);
  slm::measure_snake(*kernels);
  slm::measure_attentions(*kernels);
  slm::measure_steps(*kernels, memory);
}
