// Out of memory at any place: the n-th allocation of a whole life of a bundle fails, for many n.
// Every call then says so, nothing is left behind, and a call that is repeated does as if nothing
// had been.
//
// Allocations are counted in here: `new`, and the linker leads calloc, mmap and their opposites to
// functions of this file.
#include <atomic>
#include <climits>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "expect.h"
#include "slm.h"
#include "tiny_bundle.h"

#if defined(__linux__)

#include <sys/mman.h>

namespace {
std::atomic<long> left_until_failure{LONG_MAX};
std::atomic<long> live{0};

bool is_refused() { return left_until_failure.fetch_sub(1, std::memory_order_relaxed) == 1; }

void* count(void* memory) {
  if (memory != nullptr) live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}
}  // namespace

extern "C" {
void __real_free(void* memory);
void* __real_calloc(std::size_t count, std::size_t size);
void* __real_mmap(void* place, std::size_t size, int protection, int flags, int file, off_t offset);
int __real_munmap(void* place, std::size_t size);

void __wrap_free(void* memory) {
  if (memory != nullptr) live.fetch_sub(1, std::memory_order_relaxed);
  __real_free(memory);
}
void* __wrap_calloc(std::size_t values, std::size_t size) {
  return is_refused() ? nullptr : count(__real_calloc(values, size));
}
void* __wrap_mmap(void* place, std::size_t size, int protection, int flags, int file,
                  off_t offset) {
  if (is_refused()) return MAP_FAILED;
  return count(__real_mmap(place, size, protection, flags, file, offset));
}
int __wrap_munmap(void* place, std::size_t size) {
  live.fetch_sub(1, std::memory_order_relaxed);
  return __real_munmap(place, size);
}
}

void* operator new(std::size_t size) {
  void* memory = is_refused() ? nullptr : count(std::malloc(size));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto multiple = static_cast<std::size_t>(alignment);
  const std::size_t whole = (size + multiple - 1) / multiple * multiple;
  void* memory = is_refused() ? nullptr : count(std::aligned_alloc(multiple, whole));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::size_t) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { __wrap_free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { __wrap_free(memory); }

namespace slm::test {
namespace {

// What one life of a bundle brings. A call that has no memory is made again once, with memory.
class Life {
 public:
  Life(const std::string& path, bool is_repeating) : path_(path), is_repeating_(is_repeating) {}
  ~Life() {
    slm_sequence_close(sequence_);
    slm_speech_close(speech_);
    slm_close(bundle_);
  }

  std::vector<std::int32_t> codes;
  std::vector<float> audio;
  bool has_failed = false;

  // Returns whether it came to its end.
  bool run() {
    slm_options options{sizeof(slm_options), 2, 0, nullptr, is_repeating_ ? 1 : 0};
    facts_.size = sizeof facts_;
    return call([&](slm_error* error) { return slm_verify(path_.c_str(), error); }) &&
           call([&](slm_error* error) {
             return slm_open(path_.c_str(), &options, &bundle_, error);
           }) &&
           call([&](slm_error* error) { return slm_describe(bundle_, &facts_, error); }) &&
           draw() && decode();
  }

 private:
  template <typename Call>
  bool call(const Call& make) {
    slm_error error{};
    slm_status status = make(&error);
    if (status == SLM_NO_MEMORY) {
      has_failed = true;
      expect(error.message[0] != '\0', "a message");
      if (!is_repeating_) return false;
      status = make(&error);
    }
    expect(status == SLM_OK, error.message);
    return status == SLM_OK;
  }

  bool draw() {
    embeddings_.resize(3 * static_cast<std::size_t>(facts_.hidden_size));
    speaker_.resize(static_cast<std::size_t>(facts_.speaker_channels));
    const std::int32_t tokens[] = {1, 298, 297};
    const auto heads = static_cast<std::size_t>(facts_.heads);
    const std::vector<float> noise(heads, 0.35f);
    const slm_sampling sampling{1.0f, 6, 0.9f, 1.2f};
    bool is_right =
        call([&](slm_error* error) { return slm_voice(bundle_, "ann", speaker_.data(), error); }) &&
        call([&](slm_error* error) {
          return slm_embed(bundle_, tokens, 3, speaker_.data(), embeddings_.data(), error);
        }) &&
        call([&](slm_error* error) { return slm_sequence_open(bundle_, 1, &sequence_, error); }) &&
        call([&](slm_error* error) { return slm_read(sequence_, embeddings_.data(), 3, error); });
    for (int step = 0; is_right && step < 18; ++step) {
      std::vector<std::int32_t> drawn_codes(heads);
      slm_drawn drawn{};
      is_right = call([&](slm_error* error) {
        return slm_step(&sequence_, 1, &sampling, noise.data(), drawn_codes.data(), &drawn, error);
      });
      codes.insert(codes.end(), drawn_codes.begin(), drawn_codes.end());
    }
    return is_right;
  }

  bool decode() {
    const auto streams = static_cast<std::size_t>(facts_.streams);
    const std::vector<std::int32_t> frames(30 * streams, 2);
    if (!call([&](slm_error* error) {
          return slm_speech_open(bundle_, speaker_.data(), &speech_, error);
        })) {
      return false;
    }
    for (int chunk = 0; chunk < 2; ++chunk) {
      std::vector<float> samples(slm_speech_room(speech_, 15));
      std::size_t written = 0;
      if (!call([&](slm_error* error) {
            return slm_speech_decode(speech_, frames.data(), 15, chunk, samples.data(),
                                     samples.size(), &written, error);
          })) {
        return false;
      }
      audio.insert(audio.end(), samples.begin(),
                   samples.begin() + static_cast<std::ptrdiff_t>(written));
    }
    std::vector<std::int32_t> heard(60 * streams);
    std::size_t count = 0;
    return call([&](slm_error* error) {
      return slm_encode(bundle_, audio.data(), audio.size(), heard.data(), 60, &count,
                        speaker_.data(), error);
    });
  }

  std::string path_;
  bool is_repeating_;
  slm_bundle* bundle_ = nullptr;
  slm_sequence* sequence_ = nullptr;
  slm_speech* speech_ = nullptr;
  slm_facts facts_{};
  std::vector<float> embeddings_, speaker_;
};

// The allocation that fails is one of this program's own, now and then: it throws through `run`.
bool run_life(Life& life) {
  try {
    return life.run();
  } catch (const std::bad_alloc&) {
    life.has_failed = true;
    return false;
  }
}

void test_life(const std::string& path) {
  Life whole(path, false);
  left_until_failure = LONG_MAX;
  expect(whole.run() && !whole.codes.empty(), "a life without failures");
  const long allocations = LONG_MAX - left_until_failure.load();
  int failed = 0;
  for (long n = 1; n <= allocations; n += 1 + n / 24) {
    for (const bool is_repeating : {false, true}) {
      const long before = live.load();
      {
        Life life(path, is_repeating);
        left_until_failure = n;
        const bool is_whole = run_life(life);
        left_until_failure = LONG_MAX;
        failed += life.has_failed;
        if (is_whole) {
          expect(life.codes == whole.codes && life.audio == whole.audio,
                 "the same after a failure");
        }
      }
      const long more = live.load() - before;
      expect(more == 0, std::to_string(more) + " left after allocation " + std::to_string(n));
    }
  }
  expect(failed > 20, "failures happened");
}

}  // namespace
}  // namespace slm::test

int main() {
  using namespace slm::test;
  const TemporaryFolder folder;
  for (const slm::TinyBundle& tiny : slm::tiny_bundles()) {
    const std::string path = folder.path() + "/" + tiny.name;
    slm::write_bundle(tiny, path);
    test_life(path);
  }
  return finish();
}

#else

int main() {
  std::puts("allocations can be made to fail on Linux only");
  return 0;
}

#endif
