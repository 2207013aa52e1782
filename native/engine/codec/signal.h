// Signals: rows of channels that follow each other in time.
//
// A signal is held in parts; a row is named by its position in the whole utterance. Rows lie at a
// distance of `stride` floats, and channels are filled up with zeros.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slm {

using Position = std::int64_t;

inline constexpr Position kOpenEnd = Position{1} << 60;  // length of a signal that may go on

struct Signal {
  float* data = nullptr;  // row `begin`
  std::ptrdiff_t stride = 0;
  Position begin = 0;

  float* at(Position position) const { return data + (position - begin) * stride; }
};

}  // namespace slm
