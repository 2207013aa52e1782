// See speech.h.
#include "codec/speech.h"

#include <algorithm>
#include <limits>
#include <string>

namespace slm {
namespace {

// More frames than anyone can speak, few enough to count their samples.
constexpr Position kMostFrames = Position{1} << 40;

}  // namespace

Speech::Speech(const Codec& codec, const float* speaker)
    : codec_(codec), state_(codec.open_speech(speaker)) {}

void Speech::hasten(int look_ahead) {
  if (look_ahead < 0) {
    throw Failure(SLM_BAD_ARGUMENT, "look_ahead: " + std::to_string(look_ahead) +
                                        " frames are not possible; give 0 or more");
  }
  if (state_.frames > 0 || state_.has_ended) {
    throw Failure(SLM_BAD_ARGUMENT, "speech: frames were given already; hasten it before");
  }
  look_ahead_ = look_ahead;
}

Position Speech::samples_of(Position count, bool is_last) const {
  check_count(count);
  const Position frames = state_.frames + count;
  const Position end = is_hastened_by(count, is_last)
                           ? (frames - *look_ahead_) * codec_.sizes().hop_samples
                           : codec_.decoder().final_samples(frames, is_last);
  return std::max<Position>(0, end - written_);
}

Position Speech::most_samples_of(Position count) const {
  if (state_.has_ended) return 0;
  const Position frames = state_.frames + std::min(count, kMostFrames - state_.frames);
  return frames * codec_.sizes().hop_samples - written_;
}

void Speech::decode(const std::int32_t* frames, Position count, bool is_last, float* audio) {
  const Position samples = samples_of(count, is_last);
  codec_.check_frames(frames, static_cast<std::size_t>(count));
  Stopwatch watch(codec_.times());
  const Laps laps(watch);
  WorkingMemories::Loan memory = codec_.lend_memory();
  const int some = static_cast<int>(count);
  if (is_hastened_by(count, is_last)) {
    decode_hastened(frames, some, *memory, audio, laps);
  } else if (written_ > final_samples() || !fading_.empty()) {
    decode_behind(frames, some, is_last, *memory, audio, laps);
  } else {
    codec_.decode(state_, frames, some, is_last, *memory, audio, laps);
  }
  written_ += samples;
  if (written_ > 0) look_ahead_.reset();
  watch.finish();
}

void Speech::check_count(Position count) const {
  if (state_.has_ended) {
    throw Failure(SLM_BAD_ARGUMENT, "speech: its last frames were already given; open another one");
  }
  if (count > std::numeric_limits<int>::max() || state_.frames + count > kMostFrames) {
    throw Failure(SLM_BAD_ARGUMENT, "count: too many frames; give fewer in a call");
  }
}

// Not if exact audio goes as far.
bool Speech::is_hastened_by(Position count, bool is_last) const {
  if (!look_ahead_ || count == 0 || is_last) return false;
  const Position frames = state_.frames + count;
  return (frames - *look_ahead_) * codec_.sizes().hop_samples >
         codec_.decoder().final_samples(frames, false);
}

// What is final, and behind it the audio of a copy that hears the newest frame again and again.
void Speech::decode_hastened(const std::int32_t* frames, int count, WorkingMemory& memory,
                             float* audio, Laps laps) {
  const Decoder& decoder = codec_.decoder();
  const Position streams = static_cast<Position>(codec_.sizes().streams.size());
  const Position hop = codec_.sizes().hop_samples, known = state_.frames + count;
  const Position before = final_samples(), exact = decoder.final_samples(known, false);
  const Position end = (known - *look_ahead_) * hop;
  int repeated = 0;
  while (decoder.final_samples(known + repeated, false) < end + hop) ++repeated;
  std::vector<std::int32_t> repetitions;
  for (int i = 0; i < repeated; ++i) {
    repetitions.insert(repetitions.end(), frames + (count - 1) * streams, frames + count * streams);
  }
  std::vector<float> further(decoder.final_samples(known + repeated, false) - exact);
  std::vector<float> fading(hop);
  Decoder::State copy = state_;  // from here on, nothing takes memory
  codec_.decode(state_, frames, count, false, memory, audio, laps);
  copy = state_;
  codec_.decode(copy, repetitions.data(), repeated, false, memory, further.data(), laps);
  std::copy_n(further.begin(), end - exact, audio + (exact - before));
  std::copy_n(further.begin() + (end - exact), hop, fading.begin());
  fading_ = std::move(fading);
  fading_begin_ = end;
}

// Exact audio, some of which was written before. It fades in over one frame.
void Speech::decode_behind(const std::int32_t* frames, int count, bool is_last,
                           WorkingMemory& memory, float* audio, Laps laps) {
  const Position begin = final_samples();
  const Position end = codec_.decoder().final_samples(state_.frames + count, is_last);
  std::vector<float> exact(end - begin);
  codec_.decode(state_, frames, count, is_last, memory, exact.data(), laps);
  const Position hop = static_cast<Position>(fading_.size());
  for (Position sample = written_; sample < end; ++sample) {
    float value = exact[sample - begin];
    const Position place = sample - fading_begin_;
    if (place < hop) {
      const float share = static_cast<float>(place + 1) / static_cast<float>(hop + 1);
      value = share * value + (1.0f - share) * fading_[place];
    }
    *audio++ = value;
  }
  if (end >= fading_begin_ + hop) fading_.clear();
}

Position Speech::final_samples() const {
  return codec_.decoder().final_samples(state_.frames, false);
}

}  // namespace slm
