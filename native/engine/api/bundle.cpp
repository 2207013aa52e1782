// slm.h's functions about bundles: opening, verifying, describing, voices, embeddings.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "api/guard.h"
#include "api/handles.h"
#include "api/prefixes.h"
#include "codec/codec.h"
#include "language_model/language_model.h"
#include "threads/pool.h"
#include "weights/sha256.h"

#ifndef SLM_VERSION
#error "the build defines SLM_VERSION, from commands/version.py"
#endif

namespace slm {
namespace {

constexpr std::size_t kHashPiece = std::size_t{1} << 20;
constexpr std::uint32_t kMostStructBytes = 4096;

// The caller's options, with defaults for the fields that its header does not have yet.
slm_options complete_options(const slm_options* given) {
  slm_options options{};
  if (given != nullptr) {
    constexpr std::uint32_t least = offsetof(slm_options, kernels);
    if (given->size < least || given->size > kMostStructBytes) {
      throw Failure(SLM_BAD_ARGUMENT, "options.size must be sizeof(slm_options)");
    }
    std::memcpy(&options, given, std::min<std::size_t>(given->size, sizeof options));
  }
  if (options.threads < 0) {
    throw Failure(SLM_BAD_ARGUMENT, "options.threads is below 0; 0 takes all free processors");
  }
  if (options.map_weights != 0 && options.map_weights != 1) {
    throw Failure(SLM_BAD_ARGUMENT, "options.map_weights must be 0 or 1");
  }
  if (options.time_parts != 0 && options.time_parts != 1) {
    throw Failure(SLM_BAD_ARGUMENT, "options.time_parts must be 0 or 1");
  }
  options.size = sizeof options;
  return options;
}

// Nothing is allocated for them, so nothing can fail.
struct KernelNames {
  char text[256] = "";

  KernelNames() {
    const KernelList& list = usable_kernels();
    std::size_t written = 0;
    for (int index = 0; index < list.count; ++index) {
      const std::size_t length = std::strlen(list.tables[index]->name);
      if (written + length + 2 > sizeof text) break;
      if (written > 0) text[written++] = ' ';
      std::memcpy(text + written, list.tables[index]->name, length);
      written += length;
    }
    text[written] = '\0';
  }
};

const KernelNames& kernel_names() {
  static const KernelNames names;
  return names;
}

const Kernels* choose_kernels(const char* name) {
  const Kernels* kernels = find_kernels(name);
  if (kernels == nullptr) {
    throw Failure(SLM_NOT_SUPPORTED, "there are no kernels '" +
                                         std::string(name == nullptr ? "" : name).substr(0, 40) +
                                         "' for this processor; there are " + slm_kernels());
  }
  return kernels;
}

int choose_threads(int most) {
  const int threads = Pool::shared().threads();
  return most == 0 ? threads : std::min(most, threads);
}

// Where the manifest and the weights say different things, one of them is another bundle's.
void check_agreement(const ManifestFacts& facts, const ModelSizes& model, const CodecSizes& codec) {
  const auto check = [](bool is_equal, const char* what) {
    if (is_equal) return;
    throw Failure(SLM_BAD_BUNDLE, std::string("manifest.json and weights.safetensors differ in ") +
                                      what + "; copy or export the bundle again");
  };
  check(facts.is_next_token == model.is_next_token, "language_model.kind");
  check(facts.heads == model.heads, "language_model.heads");
  check(facts.hidden_size == model.hidden_size, "language_model.hidden_size");
  check(facts.max_positions == model.max_positions, "language_model.max_positions");
  check(facts.is_speaker_aware == model.is_speaker_aware(), "language_model.speaker_aware");
  check(facts.streams == model.streams, "codec.streams");
  check(facts.sample_rate_hz == codec.sample_rate_hz, "codec.sample_rate_hz");
  check(facts.hop_samples == codec.hop_samples, "codec.hop_samples");
  check(facts.delay_frames == codec.delay_frames, "codec.delay_frames");
  check(facts.speaker_channels == codec.speaker_channels(), "codec.speaker_channels");
  check(!model.is_speaker_aware() || model.speaker_channels == codec.speaker_channels(),
        "the speaker's channels");
}

void verify_file(const std::string& path, const FileRecord& record) {
  const InputFile file(path);
  if (file.size() != record.size_bytes) {
    throw Failure(SLM_BAD_BUNDLE, path + ": " + std::to_string(file.size()) + " bytes instead of " +
                                      std::to_string(record.size_bytes) + "; copy or export again");
  }
  Sha256 hash;
  std::vector<std::byte> piece(kHashPiece);
  for (std::uint64_t offset = 0; offset < file.size(); offset += kHashPiece) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(kHashPiece, file.size() - offset));
    file.read_at(offset, piece.data(), count);
    hash.add(piece.data(), count);
  }
  if (hash.finish() != record.sha256) {
    throw Failure(SLM_BAD_BUNDLE, path + ": content differs from its hash; copy or export again");
  }
}

const std::vector<float>& find_voice(const slm_bundle& bundle, const char* name) {
  const std::string& voice = name == nullptr ? bundle.manifest.default_voice() : std::string(name);
  const auto found = bundle.voices.find(voice);
  if (found != bundle.voices.end()) return found->second;
  std::string have;
  for (const auto& [other, speaker] : bundle.voices)
    have.append(have.empty() ? "" : ", ").append(other);
  throw Failure(SLM_BAD_ARGUMENT,
                (name == nullptr ? "the bundle has no default voice"
                                 : "the bundle has no voice '" + voice.substr(0, 80) + "'") +
                    "; it has " + (have.empty() ? "none: encode a recording" : have));
}

}  // namespace
}  // namespace slm

slm_bundle::slm_bundle(const std::string& directory, const slm_options& options)
    : kernels(slm::choose_kernels(options.kernels)),
      threads(slm::choose_threads(options.threads)),
      time_parts(options.time_parts == 1),
      manifest(directory),
      weights(manifest.path(slm::kWeightsFile), options.map_weights == 1, threads),
      model_sizes(slm::read_model_sizes(weights.facts())),
      codec_sizes(slm::read_codec_sizes(weights.facts())),
      embeddings(manifest.path(manifest.embeddings()), model_sizes.hidden_size),
      voices(slm::read_voices(manifest, codec_sizes.speaker_channels())) {
  slm::check_agreement(manifest.facts(), model_sizes, codec_sizes);
  auto speaking = std::make_unique<slm::LanguageModel>(weights, model_sizes, *kernels, threads,
                                                       time_parts);
  slm::keep_prefixes(*speaking, weights.facts(), embeddings, manifest, voices);
  model = std::move(speaking);
  codec = std::make_unique<const slm::Codec>(weights, codec_sizes, *kernels, threads,
                                                 slm::kPieceBytes, time_parts);
}

slm_bundle::~slm_bundle() = default;

uint32_t slm_interface(void) { return SLM_INTERFACE; }

const char* slm_version(void) { return SLM_VERSION; }

const char* slm_kernels(void) {
  return slm::kernel_names().text;
}

slm_status slm_open(const char* directory, const slm_options* options, slm_bundle** bundle,
                    slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(directory, "directory");
    slm::require(bundle, "bundle");
    *bundle = nullptr;
    *bundle = new slm_bundle(directory, slm::complete_options(options));
  });
}

void slm_close(slm_bundle* bundle) { delete bundle; }

slm_status slm_verify(const char* directory, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(directory, "directory");
    const slm::Manifest manifest(directory);
    for (const slm::FileRecord& record : manifest.files()) {
      slm::verify_file(manifest.path(record.name), record);
    }
  });
}

slm_status slm_describe(const slm_bundle* bundle, slm_facts* facts, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(bundle, "bundle");
    slm::require(facts, "facts");
    const std::uint32_t size = facts->size;
    if (size < sizeof size || size > slm::kMostStructBytes) {
      throw slm::Failure(SLM_BAD_ARGUMENT, "facts.size must be sizeof(slm_facts)");
    }
    const slm::ModelSizes& model = bundle->model_sizes;
    const slm::CodecSizes& codec = bundle->codec_sizes;
    slm_facts all{};
    all.size = size;
    all.heads = model.heads;
    all.is_next_token = model.is_next_token;
    all.hidden_size = model.hidden_size;
    all.max_positions = model.max_positions;
    all.streams = static_cast<int32_t>(model.streams.size());
    all.sample_rate_hz = codec.sample_rate_hz;
    all.hop_samples = codec.hop_samples;
    all.delay_frames = codec.delay_frames;
    all.speaker_channels = codec.speaker_channels();
    all.is_speaker_aware = model.is_speaker_aware();
    all.has_text_head = model.has_text_head();
    all.threads = bundle->threads;
    all.weight_bytes = static_cast<int64_t>(bundle->weights.bytes());
    all.step_bytes = bundle->model->step_bytes();
    all.precision = slm::format_name(model.precision);
    all.codec_precision = slm::format_name(codec.precision);
    all.kernels = bundle->kernels->name;
    all.cache = slm::cache_name(model.cache);
    all.prefixes = static_cast<int32_t>(bundle->model->prefixes().size());
    std::memcpy(facts, &all, std::min<std::size_t>(size, sizeof all));
  });
}

slm_status slm_voice(const slm_bundle* bundle, const char* name, float* speaker, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(bundle, "bundle");
    slm::require(speaker, "speaker");
    const std::vector<float>& voice = slm::find_voice(*bundle, name);
    std::copy(voice.begin(), voice.end(), speaker);
  });
}

slm_status slm_embed(const slm_bundle* bundle, const int32_t* tokens, size_t count,
                     const float* speaker, float* embeddings, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(bundle, "bundle");
    if (count == 0) return;
    slm::require(tokens, "tokens");
    slm::require(embeddings, "embeddings");
    const bool is_spoken = speaker != nullptr && bundle->model_sizes.is_speaker_aware();
    const int vocabulary = bundle->embeddings.vocabulary();
    for (size_t index = 0; index < count; ++index) {
      if (tokens[index] < 0 || tokens[index] >= vocabulary) {
        throw slm::Failure(SLM_BAD_ARGUMENT, "token " + std::to_string(tokens[index]) +
                                                 " is not in 0 … " +
                                                 std::to_string(vocabulary - 1));
      }
    }
    const auto width = static_cast<size_t>(bundle->model_sizes.hidden_size);
    for (size_t index = 0; index < count; ++index) {
      float* embedding = embeddings + index * width;
      if (is_spoken && tokens[index] == bundle->manifest.placeholder()) {
        bundle->model->project_speaker(speaker, embedding);
      } else {
        bundle->embeddings.read(tokens[index], embedding);
      }
    }
  });
}

slm_status slm_project_speaker(const slm_bundle* bundle, const float* speaker, float* embedding,
                               slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(bundle, "bundle");
    slm::require(speaker, "speaker");
    slm::require(embedding, "embedding");
    if (!bundle->model_sizes.is_speaker_aware()) {
      throw slm::Failure(SLM_NOT_SUPPORTED, "the model of this bundle takes no speaker");
    }
    bundle->model->project_speaker(speaker, embedding);
  });
}
