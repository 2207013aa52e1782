// SnakeBeta of every table of kernels: against the code that the GPU's plugin is made of, in bits
// against the portable table, and in pieces of any size.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "../alias_free_snake/core.h"
#include "check.h"
#include "kernels/kernels.h"

namespace slm {
namespace {

namespace reference = alias_free_snake;

// A signal of `rows` rows with all that the activation needs.
struct Signal {
  int rows, channels;
  bool is_alias_free;
  std::vector<float> x, frequency, gain, up, twice_up, down;

  explicit Signal(Random& random)
      : rows(random.integer(1, 130)),
        channels(16 * random.integer(1, 3)),
        is_alias_free(random.integer(0, 3) > 0),
        x(random.reals(static_cast<std::size_t>(rows) * channels, -3, 3)),
        frequency(random.reals(channels, 0.2f, 8)),
        gain(random.reals(channels, 0.1f, 2)),
        up(random.reals(12, -0.1f, 0.3f)),
        twice_up(up),
        down(random.reals(12, -0.1f, 0.3f)) {
    for (float& tap : twice_up) tap *= 2;
  }

  Snake snake() const {
    return {frequency.data(), gain.data(), is_alias_free ? twice_up.data() : nullptr, down.data(),
            channels};
  }
};

// Rows begin … end - 1 of the activation, computed by a window of the signal: rows outside of it
// are not there. stride: of the window.
std::vector<float> bend(const Kernels& kernels, const Signal& signal, int begin, int end,
                        int stride) {
  const int reach = signal.is_alias_free ? 5 : 0;
  std::vector<float> window(static_cast<std::size_t>(end - begin + 2 * reach) * stride, NAN);
  for (int row = begin - reach; row < end + reach; ++row) {
    if (row < 0 || row >= signal.rows) continue;
    std::memcpy(&window[static_cast<std::size_t>(row - begin + reach) * stride],
                &signal.x[static_cast<std::size_t>(row) * signal.channels], 4 * signal.channels);
  }
  std::vector<float> y(static_cast<std::size_t>(end - begin) * signal.channels);
  const int first = reach - begin;  // of the signal, as a row of the window
  kernels.snake(signal.snake(), {window.data(), stride, first, first + signal.rows - 1},
                end - begin, y.data(), signal.channels);
  return y;
}

float wanted_plain(const Signal& signal, int row, int c) {
  const float x = signal.x[static_cast<std::size_t>(row) * signal.channels + c];
  const float sine = std::sin(signal.frequency[c] * x);
  return x + signal.gain[c] * sine * sine;
}

std::vector<float> wanted_alias_free(const Signal& signal, int c) {
  std::vector<float> y(signal.rows);
  static reference::Tile tile;
  for (int origin = 0; origin < signal.rows; origin += reference::kTile) {
    std::vector<float> column(reference::kTile + 40, 0.0f);
    for (int row = 0; row < signal.rows; ++row) {
      column[row + 20] = signal.x[static_cast<std::size_t>(row) * signal.channels + c];
    }
    const reference::Ends ends{0, signal.rows - 1};
    const reference::Lanes all{0, 1};
    tile.load(column.data() + 20, ends, all);
    tile.bend(ends, {signal.up.data(), signal.down.data()},
              {signal.frequency[c], signal.gain[c]}, all);
    tile.store(y.data(), signal.rows, {signal.up.data(), signal.down.data()}, all);
  }
  return y;
}

void check_whole(const Kernels& kernels, const Signal& signal, const std::vector<float>& whole) {
  for (int c = 0; c < signal.channels; ++c) {
    std::vector<float> wanted;
    if (signal.is_alias_free) wanted = wanted_alias_free(signal, c);
    for (int row = 0; row < signal.rows; ++row) {
      const float got = whole[static_cast<std::size_t>(row) * signal.channels + c];
      const float want = signal.is_alias_free ? wanted[row] : wanted_plain(signal, row, c);
      CHECK(std::fabs(got - want) < 2e-5f, kernels.name);
    }
  }
}

void test_table(const Kernels& kernels) {
  Random random(4);
  for (int round = 0; round < 60; ++round) {
    const Signal signal(random);
    const int stride = signal.channels + 16 * random.integer(0, 1);
    const std::vector<float> whole = bend(kernels, signal, 0, signal.rows, stride);
    check_whole(kernels, signal, whole);
    const std::vector<float> same =
        bend(*find_kernels("portable"), signal, 0, signal.rows, stride);
    CHECK(std::memcmp(whole.data(), same.data(), whole.size() * 4) == 0, kernels.name);
    for (int begin = 0; begin < signal.rows;) {
      const int end = std::min(signal.rows, begin + random.integer(1, 50));
      const std::vector<float> piece = bend(kernels, signal, begin, end, signal.channels);
      CHECK(std::memcmp(&whole[static_cast<std::size_t>(begin) * signal.channels], piece.data(),
                        piece.size() * 4) == 0,
            kernels.name);
      begin = end;
    }
  }
  std::printf("snake: %s\n", kernels.name);
}

}  // namespace
}  // namespace slm

int main() {
  for (int i = 0; i < slm::usable_kernels().count; ++i) {
    slm::test_table(*slm::usable_kernels().tables[i]);
  }
}
