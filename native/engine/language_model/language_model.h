// A speech language model: backbone, heads, text head.
//
// In: weights; then sequences with embeddings to read, or codes to draw. Out: hidden states, codes,
// tokens. But for keep_prefix, a model does not change, so any number of threads may use it, each with
// other sequences.
// A call either succeeds, or leaves its sequences as they were. It knows no bundles and no audio.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "language_model/decoder_stack.h"
#include "language_model/prefixes.h"
#include "language_model/sequence.h"
#include "language_model/speaker_projection.h"
#include "language_model/speech_codes.h"
#include "language_model/speech_heads.h"
#include "language_model/workspace.h"
#include "slm.h"
#include "weights/sizes.h"
#include "weights/weights.h"

namespace slm {

class LanguageModel {
 public:
  // The weights must outlive the model. Throws Failure.
  // keeps_times: of the parts of its calls.
  LanguageModel(const Weights& weights, const ModelSizes& sizes, const Kernels& kernels,
                int threads, bool keeps_times = false);

  // Read what prompts begin with, embeddings [count][hidden_size], now and never again: sequences
  // that begin so have the same bits sooner. Only before any other thread uses the model.
  void keep_prefix(std::vector<float> embeddings);
  // The same of what was read before: a prefix's `Sequence::save`. Throws Failure unless it has
  // as many bytes as that needs.
  void keep_prefix(std::vector<float> embeddings, std::span<const std::byte> read);
  const std::vector<Prefix>& prefixes() const { return prefixes_.all(); }

  const ModelSizes& sizes() const { return sizes_; }
  std::int64_t step_bytes() const;  // of weights that a step of one sequence reads

  PartTimes* read_times() const { return read_times_.get(); }  // null: they are not kept
  PartTimes* step_times() const { return step_times_.get(); }

  // speaker: [speaker_channels] of a speaker-aware model. embedding: [hidden_size].
  void project_speaker(const float* speaker, float* embedding) const;
  std::unique_ptr<Sequence> open(std::int64_t positions) const;

  // Read embeddings [count][hidden_size], after the codes drawn last if they have not been read.
  void read(Sequence& sequence, const float* embeddings, std::size_t count) const;
  // hidden: [hidden_size] of the last position read.
  void copy_hidden(const Sequence& sequence, float* hidden) const;
  // A token of text after the last position.
  int write(Sequence& sequence, const slm_sampling& sampling, float noise) const;
  // One step of all sequences. sampling and drawn: one each; noise and codes: [sequences][heads].
  void step(std::span<Sequence* const> sequences, const slm_sampling* sampling, const float* noise,
            std::int32_t* codes, slm_drawn* drawn) const;

 private:
  class Loan;  // a workspace, given back at the end

  std::unique_ptr<Workspace> make_workspace() const;
  void read_in_turn(Sequence& sequence, const float* embeddings, int count) const;
  void reserve(Sequence& sequence, int more, Workspace& workspace) const;
  int adopt_prefix(Sequence& sequence, const float* embeddings, int count) const;
  void fill_row(Sequence& sequence, DecoderMemory& memory, int row, int index,
                const float* embedding, bool is_last) const;
  void keep_hidden(Sequence& sequence, DecoderMemory& memory, int row) const;
  void prepare_step(Sequence& sequence, Workspace& workspace) const;
  void step_block(const Team& team, std::span<Sequence* const> sequences, const slm_sampling* sampling,
                  const float* noise, std::int32_t* codes, slm_drawn* drawn,
                  Workspace& workspace) const;
  void read_drawn(const Team& team, std::span<Sequence* const> sequences, Workspace& workspace) const;
  void score(const Team& team, std::span<Sequence* const> sequences, Workspace& workspace) const;
  int draw_code(const Sequence& sequence, int row, int draw, const slm_sampling& sampling,
                float noise, Workspace& workspace, DrawMemory& memory) const;
  slm_drawn finish(Sequence& sequence, std::span<const std::int32_t> codes) const;
  int seen_row(const Sequence& sequence, int draw) const;
  void mark_seen(Sequence& sequence, std::span<const std::int32_t> codes) const;

  ModelSizes sizes_;
  Team team_;
  DecoderStack backbone_;
  Vector<float> final_norm_;
  SpeechCodes codes_;
  SpeechHeads heads_;
  std::optional<SpeakerProjection> speaker_;
  std::optional<Matrix> text_head_;
  Prefixes prefixes_;
  Vector<std::uint8_t> never_written_;
  std::unique_ptr<PartTimes> read_times_, step_times_;
  mutable WorkspaceStore workspaces_;
};

}  // namespace slm
