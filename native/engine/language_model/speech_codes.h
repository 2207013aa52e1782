// What heads' entries mean, and the input embeddings of drawn codes.
//
// In: the bundle's streams. Out: for each head's entries whether they are codes, `<eosp>` or
// `<|speech_pad|>`, how much of a step is speech, and the embedding to read next
// (export/language_model/mtp_head.py, ntp_head.py). It draws nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "slm.h"
#include "weights/sizes.h"
#include "weights/weights.h"

namespace slm {

class SpeechCodes {
 public:
  // Throws Failure.
  SpeechCodes(const Weights& weights, const ModelSizes& sizes);

  int streams() const { return static_cast<int>(sizes_.size()); }
  // Codes of a stream, without its two special entries.
  int codes_of(int stream) const { return sizes_[stream]; }
  int stream_of(int head) const { return head % streams(); }

  // Of one step's codes, code i being that of stream first_stream + i: what is speech, and whether
  // it ends. A step with <eosp> has no speech; otherwise it goes on to the frame of the first pad.
  slm_drawn judge(std::span<const std::int32_t> codes, int first_stream) const;
  // The mean embedding of the step's codes, where pads replace those that are no speech. In a step
  // that ends speech, the embedding of <eosp>.
  void embed(std::span<const std::int32_t> codes, int first_stream, const slm_drawn& drawn,
             float* embedding) const;
  // Bytes of the table that `codes` codes are embedded from.
  std::int64_t bytes_of(int codes) const;

 private:
  int row_of(int stream, int code) const;
  void add_row(int row, float* sum) const;

  std::vector<int> sizes_;
  std::vector<int> offsets_;  // rows of the table where a stream begins
  int total_ = 0;             // codes of all streams; then <eosp>, then the pad
  int width_ = 0;
  Vector<float> floats_;
  Vector<std::uint16_t> halves_;  // one of the two
};

}  // namespace slm
