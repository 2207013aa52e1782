// SnakeBeta, plain or alias-free, on rows of channels.
//
// In: rows of a signal, and where it begins and ends. Out: as many rows, bent. Alias-free means:
// the signal is brought to twice its rate, bent, low-passed and brought back (BigVGAN, arXiv
// 2206.04658). It works on 16 channels and some rows at a time, in a scratch on the stack. Included
// after a simd_*.h.
#pragma once

#include "kernels/curves.h"

namespace slm {
namespace {

inline constexpr int kReach = 5;  // rows on each side that an output row is made of
inline constexpr int kPhaseTaps = 6;  // of the filters' 12 that meet rows: every other one
inline constexpr int kPieceRows = 32;
inline constexpr int kPiecePhase = kPieceRows + kPhaseTaps - 1;

inline int clamp(int value, int least, int most) {
  return value < least ? least : value > most ? most : value;
}

struct Bend {
  f32x16 frequency, gain;

  f32x16 operator()(f32x16 x) const { return fma(gain, square_of_sine(frequency * x), x); }
};

// Output rows row … row + rows - 1 of 16 channels. Rows of the signal are counted as those of
// `data` are: output row r stands at r + 5.
class SnakePiece {
 public:
  SnakePiece(const Snake& snake, const SnakeRows& x, int channel, int row, int rows)
      : origin_(row + kReach),
        rows_(rows),
        bend_{load(snake.frequency + channel), load(snake.gain + channel)} {
    read(x, channel);
    double_and_bend(snake.up, x);
  }

  // y: at the first row and channel of the piece.
  void write(const float* down, float* y, std::ptrdiff_t stride) const {
    f32x16 taps[2 * kPhaseTaps];
    for (int k = 0; k < 2 * kPhaseTaps; ++k) taps[k] = splat(down[k]);
    for (int i = 0; i < rows_; ++i) {
      f32x16 total = splat(0.0f);
      for (int k = 0; k < kPhaseTaps; ++k) {
        total = fma(taps[2 * k], odd_[i + k], total);
        total = fma(taps[2 * k + 1], even_[i + k], total);
      }
      store(y + i * stride, total);
    }
  }

 private:
  // The rows from 5 before the piece to 5 behind it; the signal's end rows where it has ended.
  void read(const SnakeRows& x, int channel) {
    for (int i = 0; i < rows_ + 2 * kReach; ++i) {
      const int row = clamp(origin_ - kReach + i, x.first, x.last);
      input_[i] = load(x.data + row * x.stride + channel);
    }
  }

  // Both phases of the doubled rate, bent: samples 2 i from i = -2, 2 i + 1 from i = -3.
  void double_and_bend(const float* up, const SnakeRows& x) {
    f32x16 taps[2 * kPhaseTaps];
    for (int k = 0; k < 2 * kPhaseTaps; ++k) taps[k] = splat(up[k]);
    for (int i = 0; i < rows_ + kPhaseTaps - 1; ++i) {
      f32x16 even = splat(0.0f), odd = splat(0.0f);
      for (int k = 0; k < kPhaseTaps; ++k) {
        even = fma(taps[11 - 2 * k], input_[i + k], even);
        odd = fma(taps[10 - 2 * k], input_[i + k], odd);
      }
      even_[i] = bend_(even);
      odd_[i] = bend_(odd);
    }
    repeat_ends(x);
  }

  // Before the signal's first row the doubled signal is its sample 2 · first, behind the last row
  // its sample 2 · last + 1. Ends out of reach are moved to where they change nothing.
  void repeat_ends(const SnakeRows& x) {
    const int count = rows_ + kPhaseTaps - 1;
    const int first = clamp(x.first, origin_ - kReach, origin_ + rows_) - origin_;
    const int last = clamp(x.last, origin_ - 1, origin_ + rows_ + kReach) - origin_;
    for (int i = 0; i < first + 3; ++i) {
      odd_[i] = even_[first + 2];
      if (i < first + 2) even_[i] = even_[first + 2];
    }
    for (int i = last + 3; i < count; ++i) {
      even_[i] = odd_[last + 3];
      if (i > last + 3) odd_[i] = odd_[last + 3];
    }
  }

  int origin_;
  int rows_;
  Bend bend_;
  f32x16 input_[kPieceRows + 2 * kReach];
  f32x16 even_[kPiecePhase];
  f32x16 odd_[kPiecePhase];
};

inline void plain_snake(const Snake& snake, const SnakeRows& x, int rows, float* y,
                        std::ptrdiff_t stride) {
  for (int c = 0; c < snake.channels; c += kPanel) {
    const Bend bend{load(snake.frequency + c), load(snake.gain + c)};
    for (int row = 0; row < rows; ++row) {
      store(y + row * stride + c, bend(load(x.data + row * x.stride + c)));
    }
  }
}

inline void snake(const Snake& snake, const SnakeRows& x, int rows, float* y,
                  std::ptrdiff_t stride) {
  if (snake.up == nullptr) return plain_snake(snake, x, rows, y, stride);
  for (int row = 0; row < rows; row += kPieceRows) {
    const int some = rows - row < kPieceRows ? rows - row : kPieceRows;
    for (int c = 0; c < snake.channels; c += kPanel) {
      SnakePiece(snake, x, c, row, some).write(snake.down, y + row * stride + c, stride);
    }
  }
}

}  // namespace
}  // namespace slm
