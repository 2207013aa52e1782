#include "language_model/rotary.h"

#include <cmath>

namespace slm {

void RotaryTables::fill(int row, int position, const Vector<float>& frequencies) {
  const float scale = 1.0f / std::sqrt(2.0f * static_cast<float>(pairs_));
  for (int pair = 0; pair < pairs_; ++pair) {
    const double angle = static_cast<float>(position) * frequencies[pair];
    const float cosine = static_cast<float>(std::cos(angle));
    const float sine = static_cast<float>(std::sin(angle));
    table(row, 0)[pair] = cosine;
    table(row, 1)[pair] = sine;
    table(row, 2)[pair] = cosine * scale;
    table(row, 3)[pair] = sine * scale;
  }
}

}  // namespace slm
