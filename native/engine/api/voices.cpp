// Reading voices/*.safetensors.
#include "api/voices.h"

#include <cmath>

#include "failure.h"
#include "weights/pages.h"
#include "weights/safetensors.h"

namespace slm {
namespace {

constexpr std::uint64_t kMostBytes = 1 << 20;
constexpr const char* kTensor = "speaker";

std::vector<float> read_voice(const std::string& path, int channels) {
  const InputFile file(path);
  const auto fail = [&](const std::string& what) {
    throw Failure(SLM_BAD_BUNDLE, path + ": " + what + "; copy or export the bundle again");
  };
  if (file.size() > kMostBytes) fail("is too large for a speaker embedding");
  const SafetensorsHeader header = read_safetensors_header(file);
  auto found = header.tensors.find(kTensor);
  if (found == header.tensors.end() && header.tensors.size() == 1) found = header.tensors.begin();
  if (found == header.tensors.end()) fail("holds no speaker embedding");
  const TensorEntry& tensor = found->second;
  if (tensor.type != TensorType::f32 || tensor.count != static_cast<std::uint64_t>(channels)) {
    fail("must hold " + std::to_string(channels) + " numbers of type float32");
  }
  std::vector<float> speaker(static_cast<std::size_t>(channels));
  file.read_at(header.data_begin + tensor.begin, speaker.data(), speaker.size() * sizeof(float));
  for (const float value : speaker) {
    if (!std::isfinite(value)) fail("holds NaN or infinity");
  }
  return speaker;
}

}  // namespace

Voices read_voices(const Manifest& manifest, int channels) {
  Voices voices;
  for (const auto& [name, file] : manifest.voices()) {
    voices.emplace(name, read_voice(manifest.path(file), channels));
  }
  return voices;
}

}  // namespace slm
