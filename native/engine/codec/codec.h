// The codec of a bundle: its decoder and encoder, and working memory for whoever calls them.
//
// In: weights and sizes. Out: audio of frames, frames and speakers of recordings. It does not
// change after it was made, so any number of threads can use it; each has its own `Speech`.
#pragma once

#include <cstdint>
#include <memory>

#include "codec/decoder.h"
#include "codec/encoder.h"

namespace slm {

inline constexpr std::size_t kPieceBytes = 1024 * 1024;  // of signals that should stay in a cache

class Codec {
 public:
  // keeps_times: of the parts of `decode`. Throws Failure: a tensor is missing or of another size.
  Codec(const Weights& weights, const CodecSizes& sizes, const Kernels& kernels, int threads,
        std::size_t piece_bytes = kPieceBytes, bool keeps_times = false);

  const CodecSizes& sizes() const { return sizes_; }
  const Decoder& decoder() const { return decoder_; }

  PartTimes* times() const { return times_.get(); }  // null: they are not kept

  Decoder::State open_speech(const float* speaker) const;
  // Throws Failure: a code that no codebook has.
  void check_frames(const std::int32_t* frames, std::size_t count) const;
  WorkingMemories::Loan lend_memory() const { return memories_.lend(); }
  // frames: [count][streams], checked. audio: room for all samples that become final.
  void decode(Decoder::State& state, const std::int32_t* frames, int count, bool is_last,
              WorkingMemory& memory, float* audio, Laps laps) const;
  // Throws Failure: too short, too long, or not finite.
  Encoder::Result encode(const float* audio, std::size_t samples) const;

 private:
  void check_recording(const float* audio, std::size_t samples) const;

  CodecSizes sizes_;
  Workers workers_;
  Decoder decoder_;
  Encoder encoder_;
  mutable WorkingMemories memories_;
  std::unique_ptr<PartTimes> times_;
};

}  // namespace slm
