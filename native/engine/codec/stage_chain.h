// Stages one behind another: the codec's decoder, and its waveform encoder.
//
// In: a signal that comes in parts. Out: the last stage's signal, in order, each row once. A piece
// of a stage goes through all later stages before the next one is computed, so memory is bounded by
// the pieces' sizes, whatever the length of the parts. Times are kept by a stage's index.
#pragma once

#include <utility>
#include <vector>

#include "codec/stage.h"

namespace slm {

class StageChain {
 public:
  struct State {
    std::vector<Stage::State> stages;
    Position finished = 0;  // rows that were handed out
  };

  explicit StageChain(std::vector<Stage> stages) : stages_(std::move(stages)) {}

  State open() const {
    State state;
    for (const Stage& stage : stages_) state.stages.push_back(stage.open());
    return state;
  }

  // Of the result, when `ready` rows of the input are known, of `length`.
  Position finishable(Position ready, Position length) const {
    for (const Stage& stage : stages_) {
      ready = stage.finishable(ready, length);
      length = stage.result_length(length);
    }
    return ready;
  }

  std::size_t memory_bytes() const {
    std::size_t signals = 0, scratch = 0;
    for (const Stage& stage : stages_) {
      signals += stage.signal_bytes();
      scratch = std::max(scratch, stage.scratch_bytes());
    }
    return signals + scratch;
  }

  // Takes the rows of x up to `ready`, of `length`. sink(signal, from, to): further rows of the
  // result, valid during the call.
  template <typename Sink>
  void advance(const Workers& workers, State& state, const Signal& x, Position ready,
               Position length, WorkingMemory& memory, const Sink& sink) const {
    advance_from(0, workers, state, x, ready, length, memory, sink);
  }

 private:
  template <typename Sink>
  void advance_from(std::size_t index, const Workers& workers, State& state, const Signal& x,
                    Position ready, Position length, WorkingMemory& memory,
                    const Sink& sink) const {
    if (index == stages_.size()) {
      if (ready > state.finished) sink(x, state.finished, ready);
      state.finished = ready;
      workers.at(static_cast<int>(index) - 1).laps.lap(Timed::convolution, 0);
      return;
    }
    const Stage& stage = stages_[index];
    const Workers own = workers.at(static_cast<int>(index));
    Stage::State& stage_state = state.stages[index];
    while (stage.can_advance(stage_state, ready, length)) {
      const std::size_t mark = memory.mark();
      const Signal signal = stage.begin_piece(stage_state, memory);
      const Position finished =
          stage.advance(own, stage_state, x, ready, length, memory, signal);
      advance_from(index + 1, workers, state, signal, finished, stage.result_length(length), memory,
                   sink);
      stage.end_piece(stage_state, signal, finished);
      memory.return_to(mark);
      own.laps.lap(Timed::convolution, 0);
    }
  }

  std::vector<Stage> stages_;
};

}  // namespace slm
