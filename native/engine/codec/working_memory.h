// Memory for the signals between layers, taken again for every piece of a signal.
//
// In: a size in bytes. Out: aligned arrays, given out one behind another and taken back all at
// once. It knows no layers. `WorkingMemories` keeps what several threads at once have used, for the
// next.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "failure.h"

namespace slm {

inline constexpr std::size_t kAlignment = 64;

constexpr std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class WorkingMemory {
 public:
  explicit WorkingMemory(std::size_t bytes)
      : data_(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kAlignment}))),
        size_(bytes) {}

  // `count` values, uninitialised, valid until the mark before them is returned to.
  template <typename Value>
  Value* take(std::size_t count) {
    const std::size_t bytes = aligned(count * sizeof(Value));
    if (bytes > size_ - used_) {
      throw Failure(SLM_BROKEN, "the codec's working memory is too small: report this as a bug");
    }
    Value* const values = reinterpret_cast<Value*>(data_.get() + used_);
    used_ += bytes;
    return values;
  }

  std::size_t mark() const { return used_; }
  void return_to(std::size_t mark) { used_ = mark; }

 private:
  struct Release {
    void operator()(std::byte* data) const {
      ::operator delete(data, std::align_val_t{kAlignment});
    }
  };
  std::unique_ptr<std::byte, Release> data_;
  std::size_t size_;
  std::size_t used_ = 0;
};

class WorkingMemories {
 public:
  // Lent to one thread until it goes out of scope.
  class Loan {
   public:
    Loan(WorkingMemories& owner, std::unique_ptr<WorkingMemory> memory)
        : owner_(owner), memory_(std::move(memory)) {}
    ~Loan() { owner_.take_back(std::move(memory_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    WorkingMemory& operator*() { return *memory_; }

   private:
    WorkingMemories& owner_;
    std::unique_ptr<WorkingMemory> memory_;
  };

  explicit WorkingMemories(std::size_t bytes) : bytes_(bytes) {}

  Loan lend() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<WorkingMemory> memory = std::move(free_.back());
        free_.pop_back();
        return Loan(*this, std::move(memory));
      }
      free_.reserve(++made_);  // so that taking back never allocates
    }
    return Loan(*this, std::make_unique<WorkingMemory>(bytes_));
  }

 private:
  void take_back(std::unique_ptr<WorkingMemory> memory) {
    if (!memory) return;
    memory->return_to(0);
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(memory));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<WorkingMemory>> free_;
  std::size_t made_ = 0;
  std::size_t bytes_;
};

}  // namespace slm
