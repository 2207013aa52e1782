// Functions of slm.h about the codec: speeches and recordings.
//
// In: handles and memory of the caller, checked here. Out: what `Codec` computes.
#include <algorithm>
#include <limits>
#include <string>

#include "api/guard.h"
#include "api/handles.h"
#include "codec/codec.h"

struct slm_speech {
  const slm::Codec* codec;
  slm::Decoder::State state;
};

namespace slm {
namespace {

// More frames than anyone can speak, few enough to count their samples.
constexpr Position kMostFrames = Position{1} << 40;

// Samples that become final with `count` more frames.
Position count_samples(const slm_speech& speech, Position count, bool is_last) {
  const Decoder& decoder = speech.codec->decoder();
  return decoder.final_samples(speech.state.frames + count, is_last) -
         decoder.final_samples(speech.state.frames, false);
}

void check_decode(const slm_speech& speech, const std::int32_t* frames, std::size_t count,
                  bool is_last, const float* audio, std::size_t room) {
  if (speech.state.has_ended) {
    throw Failure(SLM_BAD_ARGUMENT, "speech: its last frames were already given; open another one");
  }
  if (count > static_cast<std::size_t>(std::numeric_limits<int>::max()) ||
      speech.state.frames + static_cast<Position>(count) > kMostFrames) {
    throw Failure(SLM_BAD_ARGUMENT, "count: too many frames; give fewer in a call");
  }
  if (count > 0) require(frames, "frames");
  const auto samples =
      static_cast<std::size_t>(count_samples(speech, static_cast<Position>(count), is_last));
  if (samples > room) {
    throw Failure(SLM_BAD_ARGUMENT, "room: " + std::to_string(room) + " samples are too few, " +
                                        std::to_string(samples) +
                                        " will be written; slm_speech_room says how many");
  }
  if (samples > 0) require(audio, "audio");
}

}  // namespace
}  // namespace slm

slm_status slm_speech_open(const slm_bundle* bundle, const float* speaker, slm_speech** speech,
                           slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(speech, "speech");
    *speech = nullptr;
    slm::require(bundle, "bundle");
    slm::require(speaker, "speaker");
    *speech = new slm_speech{bundle->codec.get(), bundle->codec->open_speech(speaker)};
  });
}

void slm_speech_close(slm_speech* speech) { delete speech; }

slm_status slm_speech_decode(slm_speech* speech, const int32_t* frames, size_t count,
                             int32_t is_last, float* audio, size_t room, size_t* samples,
                             slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(samples, "samples");
    *samples = 0;
    slm::require(speech, "speech");
    slm::check_decode(*speech, frames, count, is_last != 0, audio, room);
    const slm::Position written =
        slm::count_samples(*speech, static_cast<slm::Position>(count), is_last != 0);
    speech->codec->decode(speech->state, frames, count, is_last != 0, audio);
    *samples = static_cast<std::size_t>(written);
  });
}

size_t slm_speech_room(const slm_speech* speech, size_t count) {
  if (speech == nullptr || speech->state.has_ended) return 0;
  const auto most = static_cast<std::size_t>(slm::kMostFrames - speech->state.frames);
  return static_cast<std::size_t>(
      slm::count_samples(*speech, static_cast<slm::Position>(std::min(count, most)), true));
}

slm_status slm_encode(const slm_bundle* bundle, const float* audio, size_t samples, int32_t* frames,
                      size_t room, size_t* count, float* speaker, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(count, "count");
    *count = 0;
    slm::require(bundle, "bundle");
    slm::require(audio, "audio");
    const slm::Encoder::Result result = bundle->codec->encode(audio, samples);
    const std::size_t streams = bundle->codec->sizes().streams.size();
    const std::size_t found = result.frames.size() / streams;
    if (frames != nullptr && found > room) {
      throw slm::Failure(SLM_BAD_ARGUMENT, "room: " + std::to_string(room) +
                                               " frames are too few, the recording has " +
                                               std::to_string(found));
    }
    if (frames != nullptr) std::copy(result.frames.begin(), result.frames.end(), frames);
    if (speaker != nullptr) std::copy(result.speaker.begin(), result.speaker.end(), speaker);
    *count = found;
  });
}
