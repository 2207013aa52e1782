#include "api/prefixes.h"

#include <algorithm>
#include <string>
#include <vector>

#include "failure.h"

namespace slm {
namespace {

constexpr std::size_t kMostPrefixes = 64;  // with those of all voices
constexpr int kMostTokens = 1024;  // of a prefix

std::vector<int> read_tokens(const Json& list, const ModelSizes& sizes, int vocabulary) {
  std::vector<int> tokens;
  for (const Json& token : list.items()) {
    tokens.push_back(static_cast<int>(token.integer(0, vocabulary - 1)));
  }
  if (tokens.empty() || static_cast<int>(tokens.size()) > std::min(kMostTokens, sizes.max_positions)) {
    throw Failure(SLM_BAD_BUNDLE, "a prefix of prompts has " + std::to_string(tokens.size()) +
                                      " tokens; export the bundle again");
  }
  return tokens;
}

// speaker: null where none stands in the prefix.
std::vector<float> embed(const LanguageModel& model, const EmbeddingTable& embeddings,
                         const std::vector<int>& tokens, int placeholder, const float* speaker) {
  const std::size_t width = static_cast<std::size_t>(model.sizes().hidden_size);
  std::vector<float> values(tokens.size() * width);
  for (std::size_t index = 0; index < tokens.size(); ++index) {
    float* const embedding = values.data() + index * width;
    if (speaker != nullptr && tokens[index] == placeholder) {
      model.project_speaker(speaker, embedding);
    } else {
      embeddings.read(tokens[index], embedding);
    }
  }
  return values;
}

}  // namespace

void keep_prefixes(LanguageModel& model, const Json& facts, const EmbeddingTable& embeddings,
                   const Manifest& manifest, const Voices& voices) {
  const Json* prefixes = facts.find("prefixes");
  if (prefixes == nullptr) return;
  const int placeholder = manifest.placeholder();
  std::size_t kept = 0;
  for (const Json& list : prefixes->items()) {
    const std::vector<int> tokens = read_tokens(list, model.sizes(), embeddings.vocabulary());
    const bool is_spoken = model.sizes().is_speaker_aware() &&
                           std::find(tokens.begin(), tokens.end(), placeholder) != tokens.end();
    kept += is_spoken ? voices.size() : 1;
    if (kept > kMostPrefixes) {
      throw Failure(SLM_BAD_BUNDLE, "prompts have more than 64 prefixes; export the bundle again");
    }
    if (!is_spoken) {
      model.keep_prefix(embed(model, embeddings, tokens, placeholder, nullptr));
      continue;
    }
    for (const auto& [name, speaker] : voices) {
      model.keep_prefix(embed(model, embeddings, tokens, placeholder, speaker.data()));
    }
  }
}

}  // namespace slm
