// Working memory of one call, and the store that calls take it from.
//
// In: a model. Out: memory for a block of rows, kept for the next call. It knows no sequences.
#pragma once

#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "language_model/decoder_stack.h"
#include "language_model/drawing.h"
#include "language_model/speech_heads.h"

namespace slm {

// Rows that are computed at a time: enough for products to do more than read weights, few enough
// for their values to stay in the caches.
inline constexpr int kBlockRows = 64;

struct Workspace {
  DecoderMemory decoder;
  HeadMemory heads;
  std::vector<HeadRow> head_rows;
  std::vector<DrawMemory> draws;  // one for each piece that can be at work
  ProductRows text_input;
  Buffer<float> text_scores;
  DrawMemory text_draw;
};

class WorkspaceStore {
 public:
  // A workspace that nobody else has, or none: then the caller makes one.
  std::unique_ptr<Workspace> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return nullptr;
    std::unique_ptr<Workspace> workspace = std::move(free_.back());
    free_.pop_back();
    return workspace;
  }
  void give(std::unique_ptr<Workspace> workspace) noexcept {
    const std::lock_guard lock(mutex_);
    try {
      free_.push_back(std::move(workspace));
    } catch (const std::bad_alloc&) {
      workspace.reset();  // the next call makes another
    }
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Workspace>> free_;
};

}  // namespace slm
