// Layers of a language model whose times are kept: numbers and names.
//
// In: the model's sizes. Out: the backbone's layers, then heads, then the heads' decoder layers,
// then what comes between and behind them.
#pragma once

#include <string>
#include <vector>

#include "language_model/speech_heads.h"
#include "weights/sizes.h"

namespace slm {

inline int timed_final(const ModelSizes& sizes, const SpeechHeads& heads) {
  const int count = static_cast<int>(heads.heads().size());
  return sizes.layers + count * (1 + sizes.head_layers);
}
inline int timed_drawing(const ModelSizes& sizes, const SpeechHeads& heads) {
  return timed_final(sizes, heads) + 1;
}

// Names by number.
inline std::vector<std::string> timed_layers(const ModelSizes& sizes, int heads) {
  std::vector<std::string> names;
  for (int layer = 0; layer < sizes.layers; ++layer) names.push_back(std::to_string(layer));
  for (int head = 0; head < heads; ++head) names.push_back("head " + std::to_string(head));
  for (int head = 0; head < heads; ++head) {
    for (int layer = 0; layer < sizes.head_layers; ++layer) {
      names.push_back("head " + std::to_string(head) + " layer " + std::to_string(layer));
    }
  }
  names.insert(names.end(), {"final", "drawing", "other"});
  return names;
}

}  // namespace slm
