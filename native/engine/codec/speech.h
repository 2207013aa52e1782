// One utterance of the codec: frames come in, audio goes out.
//
// In: frames, in calls of any size. Out: the audio that is final, each sample once. A speech may be
// hastened: then its first audio does not wait for all the later frames that it depends on, and is
// computed as though the newest frame went on. What follows is exact again, after a short fade.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "codec/codec.h"

namespace slm {

class Speech {
 public:
  Speech(const Codec& codec, const float* speaker);

  // The first audio goes up to `look_ahead` frames before the newest frame. Throws Failure: frames
  // were given before, or a negative number.
  void hasten(int look_ahead);

  // Samples that `decode` writes for `count` more frames. Throws Failure: this speech has ended, or
  // too many frames.
  Position samples_of(Position count, bool is_last) const;
  // The most that it can write.
  Position most_samples_of(Position count) const;

  // Further frames [count][streams]. Throws Failure, with nothing changed: as `samples_of`, or a
  // code that no codebook has, or no memory.
  void decode(const std::int32_t* frames, Position count, bool is_last, float* audio);

 private:
  void check_count(Position count) const;
  bool is_hastened_by(Position count, bool is_last) const;
  void decode_hastened(const std::int32_t* frames, int count, WorkingMemory& memory, float* audio,
                       Laps laps);
  void decode_behind(const std::int32_t* frames, int count, bool is_last, WorkingMemory& memory,
                     float* audio, Laps laps);
  Position final_samples() const;

  const Codec& codec_;
  Decoder::State state_;
  Position written_ = 0;           // samples
  std::optional<int> look_ahead_;  // until the first audio was written
  std::vector<float> fading_;      // hastened audio behind what was written: one frame
  Position fading_begin_ = 0;
};

}  // namespace slm
