// slm_sequence_…, slm_read, slm_hidden, slm_write, slm_step, slm_cancel.
//
// In: arguments of the interface. Out: statuses. Arguments are checked here; what they mean is the
// language model's.
#include <memory>
#include <vector>

#include "api/guard.h"
#include "api/handles.h"
#include "language_model/language_model.h"

struct slm_sequence {
  const slm_bundle* bundle;
  std::unique_ptr<slm::Sequence> state;

  const slm::LanguageModel& model() const { return *bundle->model; }
};

extern "C" {

slm_status slm_sequence_open(const slm_bundle* bundle, int64_t positions, slm_sequence** sequence,
                             slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(bundle, "bundle");
    slm::require(sequence, "sequence");
    if (positions < 0) {
      throw slm::Failure(SLM_BAD_ARGUMENT, "positions must not be negative");
    }
    *sequence = nullptr;
    *sequence = new slm_sequence{bundle, bundle->model->open(positions)};
  });
}

void slm_sequence_close(slm_sequence* sequence) {
  delete sequence;
}

slm_status slm_read(slm_sequence* sequence, const float* embeddings, size_t count,
                    slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(sequence, "sequence");
    if (count > 0) slm::require(embeddings, "embeddings");
    sequence->model().read(*sequence->state, embeddings, count);
  });
}

slm_status slm_hidden(const slm_sequence* sequence, float* hidden, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(sequence, "sequence");
    slm::require(hidden, "hidden");
    sequence->model().copy_hidden(*sequence->state, hidden);
  });
}

slm_status slm_write(slm_sequence* sequence, const slm_sampling* sampling, float noise,
                     int32_t* token, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(sequence, "sequence");
    slm::require(sampling, "sampling");
    slm::require(token, "token");
    *token = sequence->model().write(*sequence->state, *sampling, noise);
  });
}

slm_status slm_step(slm_sequence* const* sequences, size_t rows, const slm_sampling* sampling,
                    const float* noise, int32_t* codes, slm_drawn* drawn, slm_error* error) {
  return slm::guard(error, [&] {
    slm::require(sequences, "sequences");
    slm::require(sampling, "sampling");
    slm::require(noise, "noise");
    slm::require(codes, "codes");
    slm::require(drawn, "drawn");
    if (rows == 0) throw slm::Failure(SLM_BAD_ARGUMENT, "rows is 0; give at least one sequence");
    std::vector<slm::Sequence*> states;
    states.reserve(rows);
    for (size_t row = 0; row < rows; ++row) {
      slm::require(sequences[row], "a sequence");
      if (sequences[row]->bundle != sequences[0]->bundle) {
        throw slm::Failure(SLM_BAD_ARGUMENT,
                           "the sequences belong to several bundles; step those "
                           "of each bundle by themselves");
      }
      states.push_back(sequences[row]->state.get());
    }
    sequences[0]->model().step(states, sampling, noise, codes, drawn);
  });
}

void slm_cancel(slm_sequence* sequence) {
  if (sequence != nullptr) sequence->state->cancel();
}

}  // extern "C"
