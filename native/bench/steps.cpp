// How long a language model with random weights takes: prompts, and steps of 1, 4 and 16 sequences.
//
//   bench_steps published|demo fp32|bf16|fp16|int8|int4 THREADS [POSITIONS]
//
// POSITIONS: of the prompt, 200 by default. Prints medians and the least times, and what steps read
// of the weights.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "../tests/tiny_model.h"

namespace slm {
namespace {

constexpr int kRounds = 51;
constexpr slm_sampling kSampling{1.0f, 50, 0.2f, 1.0f};

TinyModel sizes_of(const char* name, Format format) {
  TinyModel model;
  model.form.format = format;
  model.form.block = format == Format::int8 ? 128 : 32;
  model.form.is_whole = format == Format::int8;
  model.streams = {1024, 1024, 1024};
  model.max_positions = 4096;
  model.head_dim = 64;
  if (std::strcmp(name, "published") == 0) {
    model.query_heads = 14;
    model.layers = 24;
    model.intermediate = 4864;
    model.heads = 12;
  } else {
    model.layers = 6;
    model.intermediate = 768;
  }
  // fp16 is what an fp32 bundle has of a checkpoint in float16: the cache is float32.
  if (format != Format::fp32 && format != Format::fp16) model.cache = "float16";
  return model;
}

struct Times {
  double median_ms;
  double least_ms;  // where other programs are at work, the better witness
};

Times measure(int rounds, const std::function<void()>& work) {
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    times.push_back(time.count());
  }
  std::sort(times.begin(), times.end());
  return {times[rounds / 2], times[0]};
}

void measure_reading(const LanguageModel& model, const std::vector<float>& prompt) {
  for (const int positions : {1, 16, 32, 64, 128}) {
    const Times times = measure(5, [&] {
      const auto sequence = model.open(positions);
      model.read(*sequence, prompt.data(), positions);
    });
    std::printf("read %4d positions: %9.3f ms, least %9.3f\n", positions, times.median_ms,
                times.least_ms);
  }
}

void measure_steps(const LanguageModel& model, const std::vector<float>& prompt, int positions) {
  for (const int rows : {1, 4, 16}) {
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<Sequence*> row_of;
    for (int row = 0; row < rows; ++row) {
      sequences.push_back(model.open(positions + kRounds + 2));
      model.read(*sequences.back(), prompt.data(), positions);
      row_of.push_back(sequences.back().get());
    }
    const std::size_t codes = static_cast<std::size_t>(rows) * model.sizes().heads;
    const std::vector<slm_sampling> sampling(rows, kSampling);
    const std::vector<float> noise(codes, 0.5f);
    std::vector<std::int32_t> drawn_codes(codes);
    std::vector<slm_drawn> drawn(rows);
    const auto step = [&] {
      model.step(row_of, sampling.data(), noise.data(), drawn_codes.data(), drawn.data());
    };
    step();
    const Times times = measure(kRounds, step);
    std::printf("step of %2d rows:     %9.3f ms, least %9.3f", rows, times.median_ms,
                times.least_ms);
    const double bytes = static_cast<double>(model.step_bytes());
    std::printf(" (%.1f MB of weights, %.1f GB/s)\n", bytes / 1e6, bytes / times.median_ms / 1e6);
  }
}

int run(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr,
                 "usage: bench_steps published|demo fp32|bf16|fp16|int8|int4 THREADS [POSITIONS]\n");
    return 2;
  }
  constexpr const char* kFormats[] = {"fp32", "bf16", "fp16", "int8", "int4"};
  int format = 0;
  while (format < 4 && std::strcmp(arguments[2], kFormats[format]) != 0) ++format;
  const OpenedModel opened(sizes_of(arguments[1], static_cast<Format>(format)));
  const LanguageModel model = opened.open(std::atoi(arguments[3]));
  const int positions = count > 4 ? std::clamp(std::atoi(arguments[4]), 1, 4000) : 200;
  const std::vector<float> prompt = Random(1).reals(
      static_cast<std::size_t>(std::max(positions, 128)) * model.sizes().hidden_size);
  measure_reading(model, prompt);
  measure_steps(model, prompt, positions);
  return 0;
}

}  // namespace
}  // namespace slm

int main(int count, char** arguments) {
  return slm::run(count, arguments);
}
