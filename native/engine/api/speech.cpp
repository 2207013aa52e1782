// Functions of slm.h about the codec: speeches and recordings.
//
// In: handles and memory of the caller, checked here. Out: what `Codec` computes.
#include "codec/speech.h"

#include <algorithm>
#include <limits>
#include <string>

#include "api/guard.h"
#include "api/handles.h"
#include "codec/codec.h"

struct slm_speech {
  slm::Speech speech;
};

namespace slm {
namespace {

Position frames_of(std::size_t count) {
  constexpr std::size_t kMost = std::numeric_limits<std::int64_t>::max() / 2;
  return static_cast<Position>(std::min(count, kMost));
}

void check_decode(const Speech& speech, const std::int32_t* frames, std::size_t count, bool is_last,
                  const float* audio, std::size_t room) {
  if (count > 0) require(frames, "frames");
  const auto samples = static_cast<std::size_t>(speech.samples_of(frames_of(count), is_last));
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
    *speech = new slm_speech{slm::Speech(*bundle->codec, speaker)};
  });
}

void slm_speech_close(slm_speech* speech) { delete speech; }

slm_status slm_speech_hasten(slm_speech* speech, int32_t look_ahead, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(speech, "speech");
    speech->speech.hasten(look_ahead);
  });
}

slm_status slm_speech_decode(slm_speech* speech, const int32_t* frames, size_t count,
                             int32_t is_last, float* audio, size_t room, size_t* samples,
                             slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(samples, "samples");
    *samples = 0;
    slm::require(speech, "speech");
    slm::Speech& decoded = speech->speech;
    const slm::Position more = slm::frames_of(count);
    slm::check_decode(decoded, frames, count, is_last != 0, audio, room);
    const slm::Position written = decoded.samples_of(more, is_last != 0);
    decoded.decode(frames, more, is_last != 0, audio);
    *samples = static_cast<std::size_t>(written);
  });
}

size_t slm_speech_room(const slm_speech* speech, size_t count) {
  if (speech == nullptr) return 0;
  return static_cast<std::size_t>(speech->speech.most_samples_of(slm::frames_of(count)));
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
