// The embedding that stands for a speaker in a prompt: linear, SiLU, linear.
//
// In: a speaker. Out: an input embedding. It runs once for each utterance.
#pragma once

#include "language_model/team.h"
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
  void run(const Team& team, const float* speaker, float* embedding) const {
    const ProductRows input(1, ProductShape(channels_).add(inner_));
    const ProductRows hidden(1, ProductShape(inner_.outputs).add(output_));
    std::copy_n(speaker, channels_, input.row(0));
    team.project(inner_, input, 1, {hidden.row(0), 0, false});
    team.kernels->silu(hidden.row(0), inner_.outputs);
    team.project(output_, hidden, 1, {embedding, 0, false});
  }

 private:
  Matrix inner_;
  Matrix output_;
  int channels_;
};

}  // namespace slm
