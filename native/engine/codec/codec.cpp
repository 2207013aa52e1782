// See codec.h.
#include "codec/codec.h"

#include <cmath>

namespace slm {
namespace {

constexpr double kMostSeconds = 30.0;  // of a recording: attention takes the square of its length
constexpr std::int64_t kMostFrames = 16'384;

// The decoder's stages by their index, and what belongs to none.
std::vector<std::string> timed_layers(std::size_t stages) {
  std::vector<std::string> names = {"first"};
  for (std::size_t stage = 1; stage <= stages; ++stage) {
    names.push_back("stage " + std::to_string(stage));
  }
  names.insert(names.end(), {"last", "other"});
  return names;
}

std::string text(double value) {
  std::string digits = std::to_string(value);
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.back() == '.') digits.pop_back();
  return digits;
}

}  // namespace

Codec::Codec(const Weights& weights, const CodecSizes& sizes, const Kernels& kernels, int threads,
             std::size_t piece_bytes, bool keeps_times)
    : sizes_(sizes),
      workers_{kernels, threads},
      decoder_(weights, sizes, piece_bytes),
      encoder_(weights, sizes, piece_bytes),
      memories_(decoder_.memory_bytes()) {
  if (!keeps_times) return;
  times_ = std::make_unique<PartTimes>("decode", timed_layers(sizes.decoder_ratios.size()));
}

Decoder::State Codec::open_speech(const float* speaker) const {
  for (int channel = 0; channel < sizes_.speaker_channels(); ++channel) {
    if (!std::isfinite(speaker[channel])) {
      throw Failure(SLM_BAD_ARGUMENT, "speaker: value " + std::to_string(channel) +
                                          " is not a finite number; give a speaker embedding");
    }
  }
  return decoder_.open(workers_.kernels, speaker);
}

void Codec::decode(Decoder::State& state, const std::int32_t* frames, int count, bool is_last,
                   WorkingMemory& memory, float* audio, Laps laps) const {
  decoder_.decode(workers_.timed_by(laps), state, frames, count, is_last, memory, audio);
}

Encoder::Result Codec::encode(const float* audio, std::size_t samples) const {
  check_recording(audio, samples);
  return encoder_.encode(workers_, audio, static_cast<int>(samples));
}

void Codec::check_frames(const std::int32_t* frames, std::size_t count) const {
  const std::size_t streams = sizes_.streams.size();
  for (std::size_t i = 0; i < count * streams; ++i) {
    const int codes = sizes_.streams[i % streams];
    if (frames[i] >= 0 && frames[i] < codes) continue;
    throw Failure(SLM_BAD_ARGUMENT, "frames: code " + std::to_string(frames[i]) + " of frame " +
                                        std::to_string(i / streams) + " is not in stream " +
                                        std::to_string(i % streams) + ", whose codes are 0 to " +
                                        std::to_string(codes - 1));
  }
}

void Codec::check_recording(const float* audio, std::size_t samples) const {
  const std::size_t least = std::max(sizes_.n_fft / 2, sizes_.hop_samples + 1);
  const double most = std::min(kMostSeconds * sizes_.sample_rate_hz,
                               static_cast<double>(kMostFrames) * sizes_.hop_samples);
  const double rate = sizes_.sample_rate_hz;
  if (samples < least) {
    throw Failure(SLM_BAD_ARGUMENT, "audio: a recording of " + std::to_string(samples) +
                                        " samples is too short; give at least " +
                                        std::to_string(least) + ", better some seconds");
  }
  if (static_cast<double>(samples) > most) {
    throw Failure(SLM_BAD_ARGUMENT, "audio: a recording of " + text(samples / rate) +
                                        " seconds is too long; cut it to " + text(most / rate));
  }
  for (std::size_t sample = 0; sample < samples; ++sample) {
    if (std::isfinite(audio[sample])) continue;
    throw Failure(SLM_BAD_ARGUMENT, "audio: sample " + std::to_string(sample) +
                                        " is not a finite number; give samples in [-1, 1]");
  }
}

}  // namespace slm
