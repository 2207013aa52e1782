#include "api/prefixes.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/guard.h"
#include "api/handles.h"
#include "failure.h"
#include "weights/safetensors.h"

namespace slm {
namespace {

constexpr std::size_t kMostPrefixes = 64;  // with those of all voices
constexpr int kMostTokens = 1024;  // of a prefix
constexpr std::uint64_t kMostStateBytes = std::uint64_t{1} << 30;

std::vector<int> read_tokens(const Json& list, const ModelSizes& sizes, int vocabulary) {
  std::vector<int> tokens;
  for (const Json& token : list.items()) {
    tokens.push_back(static_cast<int>(token.integer(0, vocabulary - 1)));
  }
  const int most = std::min(kMostTokens, sizes.max_positions);
  if (tokens.empty() || static_cast<int>(tokens.size()) > most) {
    throw Failure(SLM_BAD_BUNDLE, "a prefix of prompts has " + std::to_string(tokens.size()) +
                                      " tokens; export the bundle again");
  }
  return tokens;
}

// prefixes.safetensors of a bundle, if it has one: for each prefix its embeddings, and what a sequence
// has when it has read them.
class StoredPrefixes {
 public:
  explicit StoredPrefixes(const Manifest& manifest) {
    if (!manifest.has_file(kPrefixesFile)) return;
    file_.emplace(manifest.path(kPrefixesFile));
    header_ = read_safetensors_header(*file_);
  }

  // All that the model keeps is here, then nothing is computed.
  void keep(LanguageModel& model, std::vector<float> embeddings) const {
    if (!file_) return model.keep_prefix(std::move(embeddings));
    const std::vector<std::byte> state = read(model.prefixes().size());
    const std::size_t begin = embeddings.size() * sizeof(float);
    if (state.size() < begin || std::memcmp(state.data(), embeddings.data(), begin) != 0) {
      fail("was made with other embeddings");
    }
    model.keep_prefix(std::move(embeddings), std::span(state).subspan(begin));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Failure(SLM_BAD_BUNDLE, file_->path() + ": " + what + "; export the bundle again");
  }

  std::vector<std::byte> read(std::size_t number) const {
    const std::string name = "prefix." + std::to_string(number);
    const auto found = header_.tensors.find(name);
    if (found == header_.tensors.end()) fail("lacks " + name);
    const TensorEntry& tensor = found->second;
    if (tensor.type != TensorType::u8 || tensor.bytes > kMostStateBytes) {
      fail(name + " must be bytes, " + std::to_string(kMostStateBytes) + " at most");
    }
    std::vector<std::byte> state(static_cast<std::size_t>(tensor.bytes));
    file_->read_at(header_.data_begin + tensor.begin, state.data(), state.size());
    return state;
  }

  std::optional<InputFile> file_;
  SafetensorsHeader header_;
};

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
  const StoredPrefixes stored(manifest);
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
      stored.keep(model, embed(model, embeddings, tokens, placeholder, nullptr));
      continue;
    }
    for (const auto& [name, speaker] : voices) {
      stored.keep(model, embed(model, embeddings, tokens, placeholder, speaker.data()));
    }
  }
}

}  // namespace slm

slm_status slm_prefix(const slm_bundle* bundle, size_t number, void* state, size_t room,
                      size_t* bytes, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(bundle, "bundle");
    slm::require(bytes, "bytes");
    *bytes = 0;
    const std::vector<slm::Prefix>& prefixes = bundle->model->prefixes();
    if (number >= prefixes.size()) {
      throw slm::Failure(SLM_BAD_ARGUMENT, "prefix " + std::to_string(number) +
                                               " is not there; the bundle has " +
                                               std::to_string(prefixes.size()));
    }
    const auto& [embeddings, sequence] = prefixes[number];
    const auto width = static_cast<std::size_t>(bundle->model_sizes.hidden_size);
    const std::size_t begin = embeddings.size() * sizeof(float);
    const int positions = static_cast<int>(embeddings.size() / width);
    const std::size_t all = begin + sequence->read_bytes(positions);
    if (state != nullptr) {
      if (room < all) {
        throw slm::Failure(SLM_BAD_ARGUMENT, "room: " + std::to_string(room) +
                                                 " bytes are too few for " + std::to_string(all));
      }
      auto* const target = static_cast<std::byte*>(state);
      std::memcpy(target, embeddings.data(), begin);
      sequence->save(target + begin);
    }
    *bytes = all;
  });
}
