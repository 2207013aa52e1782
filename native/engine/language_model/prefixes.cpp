#include "language_model/prefixes.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace slm {

void Prefixes::add(std::vector<float> embeddings, std::unique_ptr<const Sequence> sequence) {
  const auto behind = std::find_if(prefixes_.begin(), prefixes_.end(), [&](const Prefix& other) {
    return other.embeddings.size() < embeddings.size();
  });
  prefixes_.insert(behind, {std::move(embeddings), std::move(sequence)});
}

const Sequence* Prefixes::find(const float* embeddings, std::size_t count) const {
  for (const Prefix& prefix : prefixes_) {
    const std::size_t values = prefix.embeddings.size();
    if (values <= count * width_ &&
        std::memcmp(prefix.embeddings.data(), embeddings, values * sizeof(float)) == 0) {
      return prefix.sequence.get();
    }
  }
  return nullptr;
}

}  // namespace slm
