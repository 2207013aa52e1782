// Speak a text with a native bundle: the interface of slm.h from beginning to end.
//
// In: a bundle, and a text or token ids. Out: a WAV file, or raw PCM on standard output while it is
// being made. The speech is that of `python -m runtime.tts` with the same seed.
#include "slm.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "audio_output.h"
#include "manifest.h"
#include "noise.h"
#include "options.h"
#include "tokenizer.h"

namespace {

constexpr double kFirstSeconds = 0.125;  // of audio in the first chunk, to be heard soon
constexpr double kLongestSeconds = 2.0;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Errors of the library are values. This program turns them into exceptions.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments) {
  slm_error error{};
  if (function(arguments..., &error) != SLM_OK) throw std::runtime_error(error.message);
}

// Handles, closed in the right order whatever happens.
struct Close {
  void operator()(slm_bundle* bundle) const { slm_close(bundle); }
  void operator()(slm_sequence* sequence) const { slm_sequence_close(sequence); }
  void operator()(slm_speech* speech) const { slm_speech_close(speech); }
};
template <typename Handle>
using Owned = std::unique_ptr<Handle, Close>;

Owned<slm_bundle> open_bundle(const Options& options) {
  if (slm_interface() != SLM_INTERFACE) {
    throw std::runtime_error("the library has interface " + std::to_string(slm_interface()) +
                             ", and this program needs " + std::to_string(SLM_INTERFACE) +
                             "; build both again");
  }
  slm_options settings{};
  settings.size = sizeof settings;
  settings.threads = options.threads;
  slm_bundle* bundle = nullptr;
  call(slm_open, options.bundle.c_str(), &settings, &bundle);
  return Owned<slm_bundle>(bundle);
}

struct Prompt {
  std::vector<int32_t> tokens;
  std::size_t text_tokens = 0;  // how many of them hold some of the text
};

Prompt make_prompt(const Options& options, const Manifest& manifest) {
  if (!options.tokens.empty()) return {options.tokens, options.tokens.size()};
  if (manifest.frontend != "none") {
    std::fprintf(stderr,
                 "this voice reads what %s writes, which is not available here: "
                 "the text is taken as its phonemes\n",
                 manifest.frontend.c_str());
  }
  const Tokenizer tokenizer(read_json(manifest.tokenizer));
  std::string text = manifest.template_text;
  const std::size_t begin = text.find("{text}");
  if (begin == std::string::npos) throw std::runtime_error("the bundle's template lacks {text}");
  text.replace(begin, 6, options.text);
  const std::size_t end = begin + options.text.size();
  Prompt prompt{{manifest.bos_id}, 0};
  for (const Token& token : tokenizer.encode(text)) {
    prompt.tokens.push_back(token.id);
    if (token.begin < end && token.end > begin) ++prompt.text_tokens;
  }
  return prompt;
}

// Frames go in as they are drawn, and become audio in chunks: short ones first, each twice as long
// as the one before. A hastened speech has two short ones: the second waits for the rest of the
// look-ahead while the first is heard.
class Speech {
 public:
  Speech(const slm_bundle* bundle, const slm_facts& facts, const Manifest& manifest,
         const std::vector<float>& speaker, std::optional<int> look_ahead, AudioOutput& output)
      : streams_(static_cast<std::size_t>(facts.streams)),
        ahead_(frames_ahead(look_ahead, facts.delay_frames)),
        more_ahead_(static_cast<std::size_t>(facts.delay_frames) - ahead_),
        longest_(frames_of(kLongestSeconds, manifest)),
        chunk_(std::min(frames_of(kFirstSeconds, manifest), longest_)),
        output_(output) {
    slm_speech* speech = nullptr;
    call(slm_speech_open, bundle, speaker.data(), &speech);
    speech_.reset(speech);
    if (look_ahead) call(slm_speech_hasten, speech, *look_ahead);
  }

  void add(const int32_t* codes, std::size_t count) {
    codes_.insert(codes_.end(), codes, codes + count);
    while (codes_.size() / streams_ >= chunk_ + ahead_) {
      decode(chunk_ + ahead_, false);
      if (more_ahead_ == 0) chunk_ = std::min(2 * chunk_, longest_);
      ahead_ = std::exchange(more_ahead_, 0);
    }
  }

  // What is left. Codes of a frame that was not completed are dropped.
  void finish() { decode(codes_.size() / streams_, true); }

 private:
  static std::size_t frames_of(double seconds, const Manifest& manifest) {
    return static_cast<std::size_t>(
        std::max(1.0, std::nearbyint(seconds * manifest.frames_per_second)));
  }

  static std::size_t frames_ahead(std::optional<int> asked_for, int delay) {
    if (asked_for > delay) {
      throw std::runtime_error("--look-ahead " + std::to_string(*asked_for) +
                               ": this codec's audio depends on " + std::to_string(delay) +
                               " later frames; give 0 to " + std::to_string(delay));
    }
    return static_cast<std::size_t>(asked_for.value_or(delay));
  }

  void decode(std::size_t frames, bool is_last) {
    std::vector<float> audio(slm_speech_room(speech_.get(), frames));
    std::size_t samples = 0;
    call(slm_speech_decode, speech_.get(), codes_.data(), frames, is_last ? 1 : 0, audio.data(),
         audio.size(), &samples);
    output_.write(audio.data(), samples);
    codes_.erase(codes_.begin(), codes_.begin() + static_cast<std::ptrdiff_t>(frames * streams_));
  }

  std::size_t streams_;
  std::size_t ahead_;       // frames that the next chunk needs besides its own
  std::size_t more_ahead_;  // those that the one behind it needs
  std::size_t longest_, chunk_;
  AudioOutput& output_;
  Owned<slm_speech> speech_;
  std::vector<int32_t> codes_;  // of frames that were not decoded yet
};

// Read the prompt, then draw codes step by step until the model ends, or `most_steps`. Returns
// whether the model ended.
template <typename Heard>
bool draw_codes(const slm_bundle* bundle, const slm_facts& facts, const std::vector<float>& prompt,
                const slm_sampling& sampling, Noise noise, int most_steps, const Heard& heard) {
  const std::size_t positions = prompt.size() / static_cast<std::size_t>(facts.hidden_size);
  slm_sequence* opened = nullptr;
  call(slm_sequence_open, bundle, static_cast<int64_t>(positions) + most_steps, &opened);
  const Owned<slm_sequence> sequence(opened);
  call(slm_read, opened, prompt.data(), positions);
  std::vector<float> numbers(static_cast<std::size_t>(facts.heads));
  std::vector<int32_t> codes(numbers.size());
  for (int step = 0; step < most_steps; ++step) {
    for (float& number : numbers) number = noise.next();
    slm_drawn drawn{};
    call(slm_step, &opened, std::size_t{1}, &sampling, numbers.data(), codes.data(), &drawn);
    heard(codes.data(), static_cast<std::size_t>(drawn.kept));
    if (drawn.stop != 0) return true;
  }
  return false;
}

std::uint64_t choose_seed(const Options& options) {
  if (options.seed) return *options.seed;
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 31 ^ device();
}

void speak(const Options& options) {
  const Manifest manifest = read_manifest(options.bundle);
  const Prompt prompt = make_prompt(options, manifest);
  if (options.only_tokens) {
    for (const int32_t token : prompt.tokens) std::printf("%d ", token);
    std::printf("\n");
    return;
  }
  const Owned<slm_bundle> bundle = open_bundle(options);
  slm_facts facts{};
  facts.size = sizeof facts;
  call(slm_describe, bundle.get(), &facts);
  std::fprintf(stderr, "native engine %s, %s, %s, threads: %d\n", slm_version(), facts.precision,
               facts.kernels, facts.threads);

  const Clock::time_point start = Clock::now();
  std::vector<float> speaker(static_cast<std::size_t>(facts.speaker_channels));
  call(slm_voice, bundle.get(), options.voice ? options.voice->c_str() : nullptr, speaker.data());
  std::vector<float> embeddings(prompt.tokens.size() * static_cast<std::size_t>(facts.hidden_size));
  call(slm_embed, bundle.get(), prompt.tokens.data(), prompt.tokens.size(), speaker.data(),
       embeddings.data());
  int most_steps = bound_steps(manifest, prompt.text_tokens, prompt.tokens.size());
  if (most_steps < 1) throw std::runtime_error("the text leaves no room for speech; shorten it");
  if (options.max_steps) most_steps = std::min(most_steps, *options.max_steps);

  AudioOutput output(options.output, facts.sample_rate_hz);
  Speech speech(bundle.get(), facts, manifest, speaker, options.look_ahead, output);
  double first_seconds = 0;
  const auto heard = [&](const int32_t* codes, std::size_t count) {
    speech.add(codes, count);
    if (first_seconds == 0 && output.samples() > 0) first_seconds = seconds_since(start);
  };
  const bool has_ended =
      draw_codes(bundle.get(), facts, embeddings, apply_sampling(options, manifest.sampling),
                 Noise(choose_seed(options), 0), most_steps, heard);
  speech.finish();
  const double seconds = seconds_since(start);
  output.finish();
  const double audio = static_cast<double>(output.samples()) / facts.sample_rate_hz;
  if (first_seconds == 0) first_seconds = seconds;
  std::fprintf(stderr, "%.2f s of audio in %.2f s (RTF %.3f), first after %.0f ms\n", audio,
               seconds, audio > 0 ? seconds / audio : 0.0, 1000 * first_seconds);
  if (!has_ended) std::fprintf(stderr, "warning: the speech was cut at %d steps\n", most_steps);
}

}  // namespace

int main(int count, char** words) {
  if (count < 2 || std::string(words[1]) == "--help") {
    std::fputs(kUsage, count < 2 ? stderr : stdout);
    return count < 2 ? 2 : 0;
  }
  try {
    speak(parse_options(count, words));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
