#include "language_model/prefixes.h"

#include <cstring>

namespace slm {

const Sequence* Prefixes::find(const float* embeddings, std::size_t count) const {
  const Prefix* longest = nullptr;
  for (const Prefix& prefix : prefixes_) {
    const std::size_t values = prefix.embeddings.size();
    if (values > count * width_) continue;
    if (longest != nullptr && values <= longest->embeddings.size()) continue;
    if (std::memcmp(prefix.embeddings.data(), embeddings, values * sizeof(float)) == 0) {
      longest = &prefix;
    }
  }
  return longest == nullptr ? nullptr : longest->sequence.get();
}

}  // namespace slm
