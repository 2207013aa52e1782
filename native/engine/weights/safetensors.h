// The header of a safetensors file: which tensors there are, and where.
//
// In: an open file. Out: entries by name, checked: each lies within the file, its bytes fit its
// type and shape, and the tensors cover the data one after another without gaps or overlaps. It
// reads no data. Format: https://huggingface.co/docs/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "weights/pages.h"

namespace slm {

enum class TensorType { f32, f16, bf16, u8, other };

struct TensorEntry {
  TensorType type = TensorType::other;
  std::uint64_t begin = 0;  // in the data
  std::uint64_t count = 0;  // values, of all dimensions
  std::uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::map<std::string, TensorEntry, std::less<>> tensors;
  std::map<std::string, std::string, std::less<>> metadata;
  std::uint64_t data_begin = 0;  // in the file
  std::uint64_t data_bytes = 0;
};

// Throws Failure.
SafetensorsHeader read_safetensors_header(const InputFile& file);

// "F32" etc., for messages.
const char* type_name(TensorType type);

}  // namespace slm
