// Drawing codes against the published rules, written out plainly; and what a step's codes mean.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "expect.h"
#include "failure.h"
#include "language_model/drawing.h"
#include "tiny_model.h"

namespace slm::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

int draw_one(const std::vector<float>& scores, const slm_sampling& sampling, float noise) {
  DrawMemory memory(static_cast<int>(scores.size()));
  return draw(*find_kernels("portable"), scores, sampling, noise, memory);
}

// In double precision, with a stable sort.
int draw_plainly(const std::vector<float>& scores, const slm_sampling& sampling, float noise) {
  std::vector<int> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
  order.resize(std::min<std::size_t>(order.size(), sampling.top_k));
  std::vector<double> probabilities;
  for (const int index : order) {
    probabilities.push_back(
        std::exp((double{scores[index]} - scores[order[0]]) / sampling.temperature));
  }
  const double all = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
  double before = 0, kept = 0;
  std::size_t count = 0;
  for (; count < probabilities.size() && (before <= sampling.top_p || sampling.top_p >= 1);
       ++count) {
    before += probabilities[count] / all;
    kept += probabilities[count];
  }
  double cumulative = 0;
  for (std::size_t place = 0; place < count; ++place) {
    cumulative += probabilities[place];
    if (cumulative > noise * kept) return order[place];
  }
  return order[count - 1];
}

void test_random_scores() {
  Random random(3);
  int different = 0;
  for (int round = 0; round < 4000; ++round) {
    const int entries = random.integer(1, 700);
    const std::vector<float> scores = random.reals(entries, -4, 4);
    const slm_sampling sampling{random.real(0.2f, 2), random.integer(1, 800),
                                round % 5 == 0 ? 1.0f : random.real(0, 1), 1};
    const float noise = random.real(0, 0.9999f);
    different += draw_one(scores, sampling, noise) != draw_plainly(scores, sampling, noise);
  }
  // Rounding moves a border past the noise now and then.
  expect(different <= 4, std::to_string(different) + " of 4000 draws differ");
}

void test_edges() {
  const slm_sampling greedy{1, 1, 1, 1}, all{1, 1000, 1, 1};
  expect(draw_one({1, 3, 3, 2}, greedy, 0.99f) == 1, "of equal scores the first");
  expect(draw_one({-0.0f, 0.0f}, {1, 2, 0, 1}, 0.5f) == 0, "zeros are equal");
  expect(draw_one({5, 5, 5, 5}, all, 0.0f) == 0, "no noise takes the first");
  expect(draw_one({5, 5, 5, 5}, all, 0.74f) == 2, "a quarter each");
  expect(draw_one({-kInfinity, 1, -kInfinity}, all, 0.9999999f) == 1, "never the impossible");
  expect(draw_one({0, 10, 0}, {1, 3, 0.0f, 1}, 0.99f) == 1, "a nucleus of one");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const slm_sampling& sampling : {greedy, all}) {
    expect(draw_one({nan, nan, 1}, sampling, 0.5f) <= 2, "NaN draws something");
    const int drawn = draw_one({nan, nan, nan}, sampling, 0.5f);
    expect(drawn >= 0 && drawn < 3, "only NaN draws something");
    expect(draw_one({kInfinity, kInfinity}, sampling, 0.5f) < 2, "infinities draw something");
  }
}

void test_penalty() {
  std::vector<float> scores{2, -2, 2, -2};
  const std::uint8_t seen[] = {1, 1, 0, 0};
  penalize(scores, seen, 4);
  expect(scores == std::vector<float>({0.5f, -8, 2, -2}), "what was seen is less likely");
}

void test_settings() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const slm_sampling good{1, 1, 1, 1};
  check_sampling(good, 0);
  for (const slm_sampling& bad :
       {slm_sampling{0, 1, 1, 1}, slm_sampling{nan, 1, 1, 1}, slm_sampling{1, 0, 1, 1},
        slm_sampling{1, 1, -0.1f, 1}, slm_sampling{1, 1, nan, 1}, slm_sampling{1, 1, 1, 0.5f},
        slm_sampling{kInfinity, 1, 1, 1}, slm_sampling{1, 1, 1, nan}}) {
    expect_refusal([&] { check_sampling(bad, 0); }, "must be");
  }
  for (const float noise : {-0.1f, 1.0f, nan}) {
    expect_refusal([&] { check_sampling(good, noise); }, "noise must be");
  }
}

// Streams of 13, 9 and 20 codes; two frames a step.
void test_judgement() {
  const OpenedModel opened{TinyModel{}};
  const SpeechCodes codes = opened.codes();
  const auto judged = [&](std::vector<std::int32_t> step, int first_stream = 0) {
    const slm_drawn drawn = codes.judge(step, first_stream);
    return std::pair(drawn.kept, drawn.stop);
  };
  expect(judged({1, 2, 3, 4, 5, 6}) == std::pair(6, 0), "all is speech");
  expect(judged({1, 2, 3, 14, 5, 6}) == std::pair(3, 0), "a pad ends at its frame");
  expect(judged({1, 2, 3, 4, 5, 21}) == std::pair(3, 0), "wherever in the frame");
  expect(judged({1, 2, 3, 13, 5, 6}) == std::pair(0, 1), "the end of speech");
  expect(judged({1, 9, 3, 4, 10, 6}) == std::pair(0, 1), "the end goes before a pad");
  expect(judged({9}, 1) == std::pair(0, 1) && judged({9}, 2) == std::pair(1, 0), "by stream");
}

void test_embedding() {
  const OpenedModel opened{TinyModel{}};
  const SpeechCodes codes = opened.codes();
  const std::vector<float>& table = opened.writer.vectors.at("code_embeddings");
  const int width = opened.tiny.hidden();
  const auto expect_mean = [&](std::vector<std::int32_t> step, std::vector<int> rows) {
    std::vector<float> embedding(width);
    codes.embed(step, 0, codes.judge(step, 0), embedding.data());
    for (int channel = 0; channel < width; ++channel) {
      double mean = 0;
      for (const int row : rows) mean += table[row * width + channel] / double(rows.size());
      expect(std::abs(mean - embedding[channel]) < 1e-6, "a mean of rows");
    }
  };
  expect_mean({1, 2, 3, 4, 5, 6}, {1, 13 + 2, 22 + 3, 4, 13 + 5, 22 + 6});
  expect_mean({1, 2, 3, 4, 10, 6}, {1, 13 + 2, 22 + 3, 43, 43, 43});
  expect_mean({1, 2, 20, 4, 5, 6}, {42});
}

}  // namespace
}  // namespace slm::test

int main() {
  using namespace slm::test;
  test_random_scores();
  test_edges();
  test_penalty();
  test_settings();
  test_judgement();
  test_embedding();
  return finish();
}
