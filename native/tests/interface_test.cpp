// slm.h from outside: tiny bundles are opened and used, and every call that cannot be right is
// refused with a status and one line.
#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "expect.h"
#include "opened_bundle.h"
#include "slm.h"
#include "tiny_bundle.h"

namespace slm::test {
namespace {

std::string folder;

void test_speaking(const TinyBundle& tiny) {
  const std::string path = folder + "/" + tiny.name;
  slm_error error{};
  expect(slm_verify(path.c_str(), &error) == SLM_OK, error.message);
  const Opened one(path), two(path, 2, 1);
  expect(one.facts.heads == (tiny.model.is_next_token() ? 1 : tiny.model.heads), "heads");
  expect(one.facts.has_text_head == tiny.model.has_text_head, "a text head");
  expect(one.facts.cache == tiny.model.cache, "the cache's format");
  expect(one.facts.is_speaker_aware == (tiny.model.speaker_channels > 0), "speaker-aware");
  expect(one.facts.step_bytes > 0 && one.facts.step_bytes < one.facts.weight_bytes, "bytes");
  const std::vector<float> audio = speak(one, 20);
  for (const float sample : audio) expect(std::fabs(sample) <= 1, "samples in [-1, 1]");
  expect(audio == speak(two, 20), "the same with two threads and a mapped file");
}

// Statuses of calls that cannot be right.
void test_refusals(const Opened& opened) {
  slm_error error{};
  slm_bundle* bundle = nullptr;
  const auto refused = [&](slm_status status, slm_status wanted, const char* what,
                           int line = __builtin_LINE()) {
    expect(status == wanted && error.message[0] != '\0', std::string(what) + ": " + error.message,
           line);
    error.message[0] = '\0';
  };
  refused(slm_open(nullptr, nullptr, &bundle, &error), SLM_BAD_ARGUMENT, "no directory");
  refused(slm_open("x", nullptr, nullptr, &error), SLM_BAD_ARGUMENT, "no handle");
  refused(slm_open((folder + "/none").c_str(), nullptr, &bundle, &error), SLM_BAD_BUNDLE,
          "missing");
  const std::string path = folder + "/plain";
  slm_options options{sizeof(slm_options), 1, 0, "abacus", 0};
  refused(slm_open(path.c_str(), &options, &bundle, &error), SLM_NOT_SUPPORTED, "kernels");
  options = {3, 1, 0, nullptr, 0};
  refused(slm_open(path.c_str(), &options, &bundle, &error), SLM_BAD_ARGUMENT, "a size");
  options = {sizeof(slm_options), -1, 0, nullptr, 0};
  refused(slm_open(path.c_str(), &options, &bundle, &error), SLM_BAD_ARGUMENT, "threads");
  options = {sizeof(slm_options), 1, 2, nullptr, 0};
  refused(slm_open(path.c_str(), &options, &bundle, &error), SLM_BAD_ARGUMENT, "mapping");
  options = {sizeof(slm_options), 1, 0, nullptr, 2};
  refused(slm_open(path.c_str(), &options, &bundle, &error), SLM_BAD_ARGUMENT, "timing");
  expect(bundle == nullptr, "no handle after failures");

  std::vector<float> floats(4096);
  refused(slm_voice(opened.bundle, "bob", floats.data(), &error), SLM_BAD_ARGUMENT, "a voice");
  const std::int32_t tokens[] = {0, kVocabulary};
  refused(slm_embed(opened.bundle, tokens, 2, nullptr, floats.data(), &error), SLM_BAD_ARGUMENT,
          "a token");
  slm_facts facts{};
  refused(slm_describe(opened.bundle, &facts, &error), SLM_BAD_ARGUMENT, "size of facts");
  expect(slm_describe(opened.bundle, &facts, nullptr) == SLM_BAD_ARGUMENT, "without an error");
  std::size_t count = 0;
  refused(slm_part_times(opened.bundle, nullptr, 0, &count, &error), SLM_NOT_SUPPORTED, "no times");
  slm_limits limits{};
  refused(slm_measure_limits(1, &limits, &error), SLM_BAD_ARGUMENT, "size of limits");
  limits.size = sizeof limits;
  refused(slm_measure_limits(0, &limits, &error), SLM_BAD_ARGUMENT, "no threads");
  refused(slm_measure_limits(1, nullptr, &error), SLM_BAD_ARGUMENT, "no limits");
  slm_close(nullptr);
  slm_sequence_close(nullptr);
  slm_speech_close(nullptr);
  slm_cancel(nullptr);
}

// A caller with an older header has smaller structs: nothing beyond them is written.
void test_smaller_structs(const Opened& opened) {
  struct {
    std::uint32_t size = 3 * sizeof(std::int32_t);
    std::int32_t heads = -1, is_next_token = -1, beyond = -1;
  } older;
  slm_error error{};
  const slm_status status =
      slm_describe(opened.bundle, reinterpret_cast<slm_facts*>(&older), &error);
  expect(status == SLM_OK && older.heads == opened.facts.heads, error.message);
  expect(older.beyond == -1, "nothing is written behind the caller's struct");
}

// What prompts begin with is read when the bundle is opened: tokens that there are not are refused.
void test_prefixes(slm::TinyBundle tiny) {
  const std::string path = folder + "/prefixes";
  for (const char* prefixes : {"[[300]]", "[[-1]]", "[[]]", "[5]", "{}", "[[1.5]]", "7"}) {
    tiny.model.prefixes = prefixes;
    slm::write_bundle(tiny, path);
    slm_bundle* bundle = nullptr;
    slm_error error{};
    expect(slm_open(path.c_str(), nullptr, &bundle, &error) == SLM_BAD_BUNDLE,
           std::string("prefixes ") + prefixes);
    expect(bundle == nullptr && error.message[0] != 0, "a line says why");
  }
}

std::vector<std::string> read_prefixes(const Opened& opened) {
  std::vector<std::string> states;
  slm_error error{};
  std::size_t bytes = 0;
  for (std::int32_t number = 0; number < opened.facts.prefixes; ++number) {
    const auto at = static_cast<std::size_t>(number);
    expect(slm_prefix(opened.bundle, at, nullptr, 0, &bytes, &error) == SLM_OK, error.message);
    std::string state(bytes, '\0');
    expect(slm_prefix(opened.bundle, at, state.data(), bytes - 1, &bytes, &error) ==
               SLM_BAD_ARGUMENT,
           "no room for a prefix");
    expect(slm_prefix(opened.bundle, at, state.data(), state.size(), &bytes, &error) == SLM_OK,
           error.message);
    states.push_back(state);
  }
  expect(slm_prefix(opened.bundle, states.size(), nullptr, 0, &bytes, &error) == SLM_BAD_ARGUMENT,
         "a prefix that there is not");
  return states;
}

// Writes prefixes.safetensors, and lists it in the manifest.
void store_prefixes(const std::string& path, const std::vector<std::string>& states) {
  std::string header, data;
  for (std::size_t number = 0; number < states.size(); ++number) {
    header += (header.empty() ? "\"prefix." : ",\"prefix.") + std::to_string(number) +
              "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(states[number].size()) +
              "],\"data_offsets\":[" + std::to_string(data.size()) + "," +
              std::to_string(data.size() + states[number].size()) + "]}";
    data += states[number];
  }
  slm::write_file(path + "/prefixes.safetensors", slm::safetensors_of("{" + header + "}", data, 64));
  std::string manifest = slm::read_file(path + "/manifest.json", std::size_t{1} << 22);
  if (manifest.find("prefixes.safetensors") != std::string::npos) return;
  const std::string files = "\"files\":{";
  manifest.insert(manifest.find(files) + files.size(),
                  slm::record_of(path, "prefixes.safetensors") + ",");
  slm::write_file(path + "/manifest.json", manifest);
}

// Prefixes that are stored say what computed ones say. They are not computed, and must fit.
void test_stored_prefixes(const slm::TinyBundle& tiny) {
  const std::string path = folder + "/stored";
  slm::write_bundle(tiny, path);
  const std::vector<std::string> states = read_prefixes(Opened(path));
  if (states.empty()) return;
  store_prefixes(path, states);
  expect(read_prefixes(Opened(path)) == states, "what was stored is what is there");
  std::vector<std::string> others = states;
  others[0].back() = static_cast<char>(others[0].back() ^ 1);
  store_prefixes(path, others);
  expect(read_prefixes(Opened(path)) == others, "what is stored is not computed");
  const auto refused = [&](std::vector<std::string> damaged, const char* what) {
    store_prefixes(path, damaged);
    slm_bundle* bundle = nullptr;
    slm_error error{};
    expect(slm_open(path.c_str(), nullptr, &bundle, &error) == SLM_BAD_BUNDLE, what);
    expect(std::strstr(error.message, "export the bundle again") != nullptr, error.message);
  };
  others = states;
  others[0][0] = static_cast<char>(others[0][0] ^ 1);
  refused(others, "a prefix of other embeddings");
  others = states;
  others.back().pop_back();
  refused(others, "a prefix that is too short");
  others.back() += "ab";
  refused(others, "a prefix that is too long");
  others[0].clear();
  refused(others, "a prefix of nothing");
  refused({}, "no prefix");
}

void test_sequences(const Opened& opened) {
  slm_error error{};
  slm_sequence* sequence = nullptr;
  expect(slm_sequence_open(opened.bundle, -1, &sequence, &error) == SLM_BAD_ARGUMENT, "positions");
  expect(slm_sequence_open(opened.bundle, 0, &sequence, &error) == SLM_OK, error.message);
  const auto width = static_cast<std::size_t>(opened.facts.hidden_size);
  std::vector<float> hidden(width);
  const slm_sampling sampling{1.0f, 3, 1.0f, 1.0f};
  std::vector<float> noise(static_cast<std::size_t>(opened.facts.heads), 0.5f);
  std::vector<std::int32_t> codes(noise.size());
  slm_drawn drawn{};
  expect(slm_hidden(sequence, hidden.data(), &error) == SLM_BAD_ARGUMENT, "nothing was read");
  const auto step = [&] {
    return slm_step(&sequence, 1, &sampling, noise.data(), codes.data(), &drawn, &error);
  };
  expect(step() == SLM_BAD_ARGUMENT, "nothing was read");
  const std::vector<float> prompt(width * 500, 0.1f);
  expect(slm_read(sequence, prompt.data(), 500, &error) == SLM_NO_ROOM, "too long a prompt");
  expect(slm_read(sequence, prompt.data(), 399, &error) == SLM_OK, error.message);
  expect(step() == SLM_OK, error.message);  // draws after position 399
  expect(step() == SLM_OK, error.message);  // reads them as position 400, and draws
  expect(step() == SLM_NO_ROOM, "no room for another position");
  noise[0] = 1.0f;
  expect(step() == SLM_BAD_ARGUMENT, "noise of 1");
  slm_sequence* twice[] = {sequence, sequence};
  const std::vector<float> more_noise(2 * noise.size(), 0.5f);
  const slm_sampling samplings[] = {sampling, sampling};
  std::vector<std::int32_t> more_codes(2 * codes.size());
  slm_drawn more_drawn[2];
  expect(slm_step(twice, 2, samplings, more_noise.data(), more_codes.data(), more_drawn, &error) ==
             SLM_BAD_ARGUMENT,
         "a sequence twice");
  slm_sequence_close(sequence);
}

// Cancelled calls end early, and later ones do nothing.
void test_cancelling(const Opened& opened) {
  slm_error error{};
  slm_sequence* sequence = nullptr;
  expect(slm_sequence_open(opened.bundle, 400, &sequence, &error) == SLM_OK, error.message);
  const std::vector<float> prompt(static_cast<std::size_t>(opened.facts.hidden_size) * 390, 0.1f);
  std::thread other([&] { slm_cancel(sequence); });
  const slm_status status = slm_read(sequence, prompt.data(), 390, &error);
  expect(status == SLM_OK || status == SLM_CANCELLED, error.message);
  other.join();
  expect(slm_read(sequence, prompt.data(), 1, &error) == SLM_CANCELLED, "after it was cancelled");
  slm_sequence_close(sequence);
}

void test_recordings(const Opened& opened) {
  slm_error error{};
  Random random(3);
  const std::vector<float> audio = random.reals(1'000, -0.5f, 0.5f);
  std::vector<std::int32_t> frames(3 * 200);
  std::vector<float> speaker(static_cast<std::size_t>(opened.facts.speaker_channels));
  std::size_t count = 0;
  expect(slm_encode(opened.bundle, audio.data(), audio.size(), frames.data(), 200, &count,
                    speaker.data(), &error) == SLM_OK,
         error.message);
  expect(count > 0 && count <= audio.size() / 6 + 1, "frames of a recording");
  expect(slm_encode(opened.bundle, audio.data(), audio.size(), frames.data(), 1, &count, nullptr,
                    &error) == SLM_BAD_ARGUMENT,
         "no room");
  expect(slm_encode(opened.bundle, audio.data(), 2, frames.data(), 200, &count, nullptr, &error) ==
             SLM_BAD_ARGUMENT,
         "too short");
}

}  // namespace
}  // namespace slm::test

int main() {
  using namespace slm::test;
  const TemporaryFolder made;
  folder = made.path();
  expect(slm_interface() == SLM_INTERFACE, "the library has the header's number");
  expect(std::strlen(slm_version()) > 0 && std::strlen(slm_kernels()) > 0, "names");
  for (const slm::TinyBundle& tiny : slm::tiny_bundles()) {
    slm::write_bundle(tiny, folder + "/" + tiny.name);
    test_speaking(tiny);
    const Opened opened(folder + "/" + tiny.name);
    test_refusals(opened);
    test_smaller_structs(opened);
    test_sequences(opened);
    test_cancelling(opened);
    test_recordings(opened);
    test_prefixes(tiny);
    test_stored_prefixes(tiny);
  }
  return finish();
}
