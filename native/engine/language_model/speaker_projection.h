// The embedding that stands for a speaker in a prompt: linear, SiLU, linear.
//
// In: a speaker. Out: an input embedding. It runs once for each utterance.
#pragma once

#include "language_model/workers.h"
#include "weights/sizes.h"
#include "weights/weights.h"

namespace slm {

class SpeakerProjection {
 public:
  // Throws Failure.
  SpeakerProjection(const Weights& weights, const ModelSizes& sizes)
      : inner_(weights.matrix("speaker.inner", sizes.speaker_hidden, sizes.speaker_channels)),
        output_(weights.matrix("speaker.output", sizes.hidden_size, sizes.speaker_hidden)),
        channels_(sizes.speaker_channels) {}

  // speaker: [speaker_channels]. embedding: [hidden_size].
  void run(const Workers& workers, const float* speaker, float* embedding) const {
    const InputRows input(1, InputShape(channels_).add(inner_));
    const InputRows hidden(1, InputShape(inner_.outputs).add(output_));
    std::copy_n(speaker, channels_, input.row(0));
    workers.project(inner_, input, 1, {hidden.row(0), 0, false});
    workers.kernels->silu(hidden.row(0), inner_.outputs);
    workers.project(output_, hidden, 1, {embedding, 0, false});
  }

 private:
  Matrix inner_;
  Matrix output_;
  int channels_;
};

}  // namespace slm
