// Reading manifest.json with the engine's JSON reader.
#include "manifest.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "failure.h"

namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20;
constexpr int kMostPositions = 1 << 20;

double number_within(const slm::Json& value, double least, double most) {
  const double number = value.number();
  if (number >= least && number <= most) return number;
  throw slm::Failure(SLM_BAD_BUNDLE, "manifest.json: a number is out of range; export again");
}

slm_sampling read_sampling(const slm::Json& json) {
  slm_sampling sampling = kGreedy;
  sampling.repetition_penalty =
      static_cast<float>(number_within(json.at("repetition_penalty"), 1, 100));
  if (!json.at("do_sample").boolean()) return sampling;
  sampling.temperature = static_cast<float>(number_within(json.at("temperature"), 0.01, 100));
  sampling.top_k = static_cast<int>(json.at("top_k").integer(1, 2'147'483'647));
  sampling.top_p = static_cast<float>(number_within(json.at("top_p"), 0, 1));
  return sampling;
}

}  // namespace

slm::Json read_json(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  std::string content;
  if (size >= 0 && size <= static_cast<std::streamoff>(kMostBytes)) {
    content.resize(static_cast<std::size_t>(size));
    file.seekg(0);
    file.read(content.data(), size);
  }
  if (content.empty() || !file) {
    throw slm::Failure(SLM_BAD_BUNDLE,
                       path + ": is missing or too large; give a bundle's directory");
  }
  return slm::Json::parse(content, path);
}

Manifest read_manifest(const std::string& bundle) {
  const slm::Json json = read_json(bundle + "/manifest.json");
  const slm::Json& model = json.at("language_model");
  const slm::Json& codec = json.at("codec");
  const slm::Json& prompt = json.at("prompt");
  Manifest manifest;
  manifest.template_text = prompt.at("template").string();
  manifest.bos_id = static_cast<int>(prompt.at("bos_id").integer(0, 2'147'483'647));
  manifest.frontend = prompt.at("text_frontend").at("kind").string();
  manifest.tokenizer = bundle + "/" + json.at("tokenizer").string();
  manifest.sampling = read_sampling(json.at("sampling"));
  manifest.frames_per_token = number_within(json.at("length").at("frames_per_token"), 0, 10'000);
  manifest.extra_frames = number_within(json.at("length").at("extra_frames"), 0, kMostPositions);
  manifest.frames_per_step =
      number_within(model.at("heads"), 1, 1000) /
      static_cast<double>(std::max<std::size_t>(codec.at("streams").items().size(), 1));
  manifest.frames_per_second = number_within(codec.at("sample_rate_hz"), 1, 1e6) /
                               number_within(codec.at("hop_samples"), 1, 65'536);
  manifest.delay_frames = static_cast<int>(codec.at("delay_frames").integer(0, 400));
  manifest.max_positions = static_cast<int>(model.at("max_positions").integer(1, kMostPositions));
  return manifest;
}

int bound_steps(const Manifest& manifest, std::size_t text_tokens, std::size_t positions) {
  const double frames =
      manifest.extra_frames + manifest.frames_per_token * static_cast<double>(text_tokens);
  const double steps = std::max(1.0, std::ceil(frames / manifest.frames_per_step));
  const double room = static_cast<double>(manifest.max_positions) - static_cast<double>(positions);
  return static_cast<int>(std::min(steps, room));
}
