// A bundle opened through slm.h, and what it says.
//
// In: a directory. Out: a handle that is closed at the end, facts, and the audio of an utterance.
#pragma once

#include <string>
#include <vector>

#include "expect.h"
#include "slm.h"

namespace slm::test {

struct Opened {
  slm_bundle* bundle = nullptr;
  slm_facts facts{};

  explicit Opened(const std::string& path, int threads = 1, int map = 0, int time_parts = 0) {
    slm_error error{};
    slm_options options{sizeof(slm_options), threads, map, nullptr, time_parts};
    const slm_status status = slm_open(path.c_str(), &options, &bundle, &error);
    expect(status == SLM_OK && bundle != nullptr, path + ": " + error.message);
    facts.size = sizeof facts;
    expect(slm_describe(bundle, &facts, &error) == SLM_OK, error.message);
  }
  ~Opened() { slm_close(bundle); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
};

// The audio of one utterance of a few steps.
inline std::vector<float> speak(const Opened& opened, int steps) {
  slm_error error{};
  const slm_facts& facts = opened.facts;
  const auto ok = [&](slm_status status) { expect(status == SLM_OK, error.message); };
  std::vector<float> speaker(static_cast<std::size_t>(facts.speaker_channels));
  ok(slm_voice(opened.bundle, nullptr, speaker.data(), &error));
  const std::int32_t tokens[] = {299, 5, 17, 298, 297};
  std::vector<float> embeddings(5 * static_cast<std::size_t>(facts.hidden_size));
  ok(slm_embed(opened.bundle, tokens, 5, speaker.data(), embeddings.data(), &error));
  slm_sequence* sequence = nullptr;
  slm_speech* speech = nullptr;
  ok(slm_sequence_open(opened.bundle, 3, &sequence, &error));
  ok(slm_speech_open(opened.bundle, speaker.data(), &speech, &error));
  ok(slm_read(sequence, embeddings.data(), 5, &error));
  const slm_sampling sampling{1.0f, 7, 0.9f, 1.2f};
  const std::vector<float> noise(static_cast<std::size_t>(facts.heads), 0.4f);
  std::vector<std::int32_t> codes(noise.size()), frames;
  for (int step = 0; step < steps; ++step) {
    slm_drawn drawn{};
    ok(slm_step(&sequence, 1, &sampling, noise.data(), codes.data(), &drawn, &error));
    frames.insert(frames.end(), codes.begin(), codes.begin() + drawn.kept);
    if (drawn.stop != 0) break;
  }
  const std::size_t count = frames.size() / static_cast<std::size_t>(facts.streams);
  std::vector<float> audio(slm_speech_room(speech, count));
  std::size_t samples = 0;
  ok(slm_speech_decode(speech, frames.data(), count, 1, audio.data(), audio.size(), &samples,
                       &error));
  expect(samples == count * static_cast<std::size_t>(facts.hop_samples), "all samples");
  slm_sequence_close(sequence);
  slm_speech_close(speech);
  audio.resize(samples);
  return audio;
}

}  // namespace slm::test
