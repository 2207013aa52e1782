// The codec's decoder: frames and a speaker in, audio out, as they come.
//
// FACodec (NaturalSpeech 3, arXiv 2403.03100) without residual codes. A sample is handed out once
// no later frame changes it. Joined, the audio is that of all frames decoded at once, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/stage_chain.h"
#include "weights/sizes.h"
#include "weights/weights.h"

namespace slm {

// What a speaker does to the latents: normed · scale + shift.
struct Timbre {
  std::vector<float> scale, shift;  // [latent channels]
};

class Decoder {
 public:
  struct State {
    StageChain::State chain;
    Timbre timbre;
    Position frames = 0;  // that were given
    bool has_ended = false;
  };

  Decoder(const Weights& weights, const CodecSizes& sizes, std::size_t piece_bytes);

  State open(const Kernels& kernels, const float* speaker) const;
  // Samples that are final after so many frames, which may be the last ones.
  Position final_samples(Position frames, bool is_last) const;
  // Of frames that are decoded at once.
  std::size_t memory_bytes() const;

  // Further frames [count][streams], checked codes. Writes the samples from those that were final
  // before to those that are now.
  void decode(const Workers& workers, State& state, const std::int32_t* frames, int count,
              bool is_last, WorkingMemory& memory, float* audio) const;

 private:
  void embed(const Kernels& kernels, const Timbre& timbre, const std::int32_t* frame,
             float* latent) const;

  int latent_channels_, latent_stride_;
  std::vector<const float*> vectors_;  // of each stream: [codes][latent_stride]
  Matrix timbre_;
  StageChain chain_;
};

}  // namespace slm
