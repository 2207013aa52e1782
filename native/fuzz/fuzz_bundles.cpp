// Fuzz target: damaged bundles are opened, and used if they open.
//
// Input: which file is damaged, of which tiny bundle, and what is in it. The other files are right.
// Of the weights there is the header alone, with the right data behind it, or changes to the data
// alone.
#include <cmath>
#include <cstring>
#include <limits>

#include "failure.h"
#include "manifest.h"
#include "slm.h"
#include "target.h"
#include "tiny_bundle.h"
#include "tokenizer.h"

namespace slm::fuzz {
namespace {

enum Part : std::uint8_t { kManifest, kHeader, kData, kEmbeddings, kVoice, kTokenizer, kParts };
constexpr const char* kFiles[] = {"manifest.json",  "weights.safetensors",    "weights.safetensors",
                                  "embeddings.npy", "voices/ann.safetensors", "tokenizer.json"};
constexpr std::size_t kMostFileBytes = std::size_t{1} << 26;
constexpr int kSteps = 3;

struct Bundle {
  std::string folder;
  std::string header;  // of the weights, without what fills it up
  std::string data;
};

std::string read(const std::string& path) { return read_file(path, kMostFileBytes); }

std::vector<Bundle> make_bundles() {
  std::vector<Bundle> bundles;
  for (const TinyBundle& tiny : tiny_bundles()) {
    Bundle bundle{working_folder() + "/" + tiny.name, "", ""};
    write_bundle(tiny, bundle.folder);
    const std::string weights = read(bundle.folder + "/weights.safetensors");
    std::uint64_t length = 0;
    std::memcpy(&length, weights.data(), sizeof length);
    bundle.header = weights.substr(8, static_cast<std::size_t>(length));
    bundle.header.erase(bundle.header.find_last_not_of(' ') + 1);
    bundle.data = weights.substr(8 + static_cast<std::size_t>(length));
    bundles.push_back(bundle);
  }
  return bundles;
}

const std::vector<Bundle>& bundles() {
  static const std::vector<Bundle> kBundles = make_bundles();
  return kBundles;
}

// Each four bytes of a change say where, and the next four what.
std::string change_data(std::string data, const std::string& changes) {
  for (std::size_t at = 0; at + 8 <= changes.size(); at += 8) {
    std::uint32_t place = 0;
    std::memcpy(&place, changes.data() + at, sizeof place);
    const std::size_t last = data.size() - 4;
    std::memcpy(data.data() + place % last / 4 * 4, changes.data() + at + 4, 4);
  }
  return data;
}

std::string content_of(const Bundle& bundle, Part part, const std::string& content) {
  if (part == kHeader) return safetensors_of(content, bundle.data, 4096);
  if (part == kData) return safetensors_of(bundle.header, change_data(bundle.data, content), 4096);
  return content;
}

// A status and its message go together.
slm_status checked(slm_status status, slm_error& error) {
  demand(status >= SLM_OK && status <= SLM_BROKEN && status != SLM_BROKEN, "a known status");
  demand((status == SLM_OK) == (error.message[0] == '\0'), "a message, and only for failures");
  demand(std::memchr(error.message, '\0', sizeof error.message) != nullptr, "a message that ends");
  demand(std::strchr(error.message, '\n') == nullptr, "a message of one line");
  return status;
}

void decode(const slm_bundle* bundle, const slm_facts& facts, const std::vector<float>& speaker,
            const std::vector<std::int32_t>& frames) {
  slm_error error{};
  slm_speech* speech = nullptr;
  if (checked(slm_speech_open(bundle, speaker.data(), &speech, &error), error) != SLM_OK) return;
  const std::size_t count = frames.size() / static_cast<std::size_t>(facts.streams);
  std::vector<float> audio(slm_speech_room(speech, count));
  std::size_t samples = 0;
  checked(slm_speech_decode(speech, frames.data(), count, 1, audio.data(), audio.size(), &samples,
                            &error),
          error);
  demand(samples <= audio.size(), "no more samples than there is room");
  slm_speech_close(speech);
  const std::vector<float> recording(300, 0.1f);
  std::vector<std::int32_t> heard(301 * static_cast<std::size_t>(facts.streams));
  std::vector<float> found(speaker.size());
  std::size_t frames_heard = 0;
  checked(slm_encode(bundle, recording.data(), recording.size(), heard.data(), 301, &frames_heard,
                     found.data(), &error),
          error);
}

void speak(const slm_bundle* bundle, const slm_facts& facts) {
  slm_error error{};
  std::vector<float> speaker(static_cast<std::size_t>(facts.speaker_channels));
  checked(slm_voice(bundle, nullptr, speaker.data(), &error), error);
  const std::int32_t tokens[] = {1, 298, 297};
  std::vector<float> embeddings(3 * static_cast<std::size_t>(facts.hidden_size), 0.1f);
  checked(slm_embed(bundle, tokens, 3, speaker.data(), embeddings.data(), &error), error);
  slm_sequence* sequence = nullptr;
  if (checked(slm_sequence_open(bundle, 5, &sequence, &error), error) != SLM_OK) return;
  checked(slm_read(sequence, embeddings.data(), 3, &error), error);
  const slm_sampling sampling{0.8f, 9, 0.9f, 1.1f};
  std::int32_t token = 0;
  checked(slm_write(sequence, &sampling, 0.3f, &token, &error), error);
  const std::vector<float> noise(static_cast<std::size_t>(facts.heads), 0.7f);
  std::vector<std::int32_t> codes(noise.size()), frames;
  for (int step = 0; step < kSteps; ++step) {
    slm_drawn drawn{};
    const slm_status status =
        slm_step(&sequence, 1, &sampling, noise.data(), codes.data(), &drawn, &error);
    if (checked(status, error) != SLM_OK) break;
    demand(drawn.kept >= 0 && drawn.kept <= facts.heads, "as many codes as heads, at most");
    frames.insert(frames.end(), codes.begin(), codes.begin() + drawn.kept);
    if (drawn.stop != 0) break;
  }
  slm_sequence_close(sequence);
  decode(bundle, facts, speaker, frames);
}

void use(const std::string& folder) {
  slm_error error{};
  checked(slm_verify(folder.c_str(), &error), error);
  slm_options options{sizeof(slm_options), 1, 0, nullptr, 0};
  slm_bundle* bundle = nullptr;
  const slm_status status = slm_open(folder.c_str(), &options, &bundle, &error);
  demand((checked(status, error) == SLM_OK) == (bundle != nullptr),
         "a handle, and only on success");
  if (bundle == nullptr) return;
  slm_facts facts{};
  facts.size = sizeof facts;
  checked(slm_describe(bundle, &facts, &error), error);
  speak(bundle, facts);
  slm_close(bundle);
}

void tokenize(const std::string& content) {
  try {
    const Tokenizer tokenizer(Json::parse(content, "tokenizer.json"));
    for (const Token& token :
         tokenizer.encode("The three 'll\xcc\x81 ˈa\r\n  <sosp>x<|placeholder|>")) {
      demand(token.begin <= token.end, "places in order");
    }
  } catch (const Failure& failure) {
    demand(failure.status() != SLM_OK, "a failure has a status");
  }
}

void read_settings(const std::string& folder) {
  try {
    read_manifest(folder);
  } catch (const Failure& failure) {
    demand(failure.status() != SLM_OK, "a failure has a status");
  }
}

}  // namespace

const std::vector<std::string>& seeds() {
  static const std::vector<std::string> kSeeds = [] {
    std::vector<std::string> inputs;
    for (std::size_t index = 0; index < bundles().size(); ++index) {
      const Bundle& bundle = bundles()[index];
      for (std::uint8_t part = 0; part < kParts; ++part) {
        std::string input = {static_cast<char>(part), static_cast<char>(index)};
        if (part == kHeader) {
          input += bundle.header;
        } else if (part == kData) {
          input += std::string(64, '\x7f');
        } else {
          input += read(bundle.folder + "/" + kFiles[part]);
        }
        inputs.push_back(input);
      }
    }
    return inputs;
  }();
  return kSeeds;
}

void run(const std::uint8_t* bytes, std::size_t count) {
  if (count < 2) return;
  const auto part = static_cast<Part>(bytes[0] % kParts);
  const Bundle& bundle = bundles()[bytes[1] % bundles().size()];
  const std::string content(reinterpret_cast<const char*>(bytes) + 2, count - 2);
  if (part == kTokenizer) {
    tokenize(content);
    return;
  }
  const std::string path = bundle.folder + "/" + kFiles[part];
  const std::string right = read(path);
  write_file(path, content_of(bundle, part, content));
  use(bundle.folder);
  if (part == kManifest) read_settings(bundle.folder);
  write_file(path, right);
}

}  // namespace slm::fuzz
