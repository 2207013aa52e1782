// The weights of a bundle: `weights.safetensors`, mapped or in large pages.
//
// In: a path. Out: matrices and vectors by name, checked: whatever the file says, nothing outside
// of its tensors is ever read. Errors are `Failure`s. It knows the layout, not the models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/kernels.h"
#include "weights/json.h"

namespace slm {

// A read-only array of one tensor. Aligned to 64 bytes.
template <typename Value>
struct Vector {
  const Value* data = nullptr;
  std::size_t size = 0;
  explicit operator bool() const { return data != nullptr; }
  const Value& operator[](std::size_t index) const { return data[index]; }
};

class Weights {
 public:
  // map: leave the file's pages where they are, shared with other processes. Otherwise what speech
  // needs is copied into large pages by `threads` threads; the encoder stays mapped, and takes no
  // memory before its first use. Throws Failure: damaged, or no memory.
  Weights(const std::string& path, bool map, int threads);
  ~Weights();
  Weights(Weights&&) noexcept;

  // The model's sizes: the JSON of the file's metadata, key "slm" (docs/native-engine.md).
  const Json& facts() const;

  // The product called `name`, which must have so many outputs and inputs (before filling up).
  // Throws Failure: missing, or of another size.
  Matrix matrix(std::string_view name, int outputs, int inputs) const;
  // The same of a convolution: so many channels a tap, `Matrix::taps` of them as the file says.
  Matrix convolution(std::string_view name, int outputs, int channels) const;
  // bfloat16 or float16 values, as they are. Throws Failure.
  Vector<std::uint16_t> halves(std::string_view tensor, std::size_t count) const;
  Vector<std::uint8_t> bytes_of(std::string_view tensor, std::size_t count) const;
  bool has(std::string_view tensor) const;
  // Whether a tensor is of bfloat16 or float16, so that `halves` gives it.
  bool is_half(std::string_view tensor) const;
  // A float32 vector of exactly `count` values. Throws Failure.
  Vector<float> floats(std::string_view tensor, std::size_t count) const;

  std::size_t bytes() const;

 private:
  struct File;
  std::unique_ptr<File> file_;
};

}  // namespace slm
