// Reading a safetensors header strictly.
#include "weights/safetensors.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "failure.h"
#include "weights/json.h"

namespace slm {
namespace {

constexpr std::size_t kMostHeaderBytes = std::size_t{16} << 20;
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMostDimensions = 8;
constexpr std::int64_t kMostValues = std::int64_t{1} << 48;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, where + " " + what + "; copy or export the bundle again");
}

struct TypeFacts {
  const char* name;
  std::uint64_t bytes;
  TensorType type;
};

constexpr TypeFacts kTypes[] = {
    {"F32", 4, TensorType::f32},   {"F16", 2, TensorType::f16},   {"BF16", 2, TensorType::bf16},
    {"U8", 1, TensorType::u8},     {"I8", 1, TensorType::other},  {"BOOL", 1, TensorType::other},
    {"I32", 4, TensorType::other}, {"I64", 8, TensorType::other}, {"F64", 8, TensorType::other},
};

const TypeFacts& find_type(const std::string& name, const std::string& where) {
  for (const TypeFacts& facts : kTypes) {
    if (name == facts.name) return facts;
  }
  fail(where, "is of a type that is not known");
}

TensorEntry read_entry(const Json& entry, const std::string& where) {
  const TypeFacts& type = find_type(entry.at("dtype").string(), where);
  const std::vector<Json>& shape = entry.at("shape").items();
  if (shape.size() > kMostDimensions) fail(where, "has too many dimensions");
  TensorEntry tensor;
  tensor.type = type.type;
  tensor.count = 1;
  for (const Json& size : shape) {
    const auto values = static_cast<std::uint64_t>(size.integer(0, kMostValues));
    if (values != 0 && tensor.count > static_cast<std::uint64_t>(kMostValues) / values) {
      fail(where, "has a shape of too many values");
    }
    tensor.count *= values;
  }
  const std::vector<Json>& offsets = entry.at("data_offsets").items();
  if (offsets.size() != 2) fail(where, "must have two data_offsets");
  tensor.begin = static_cast<std::uint64_t>(offsets[0].integer(0, kMostValues * 8));
  const auto end = static_cast<std::uint64_t>(offsets[1].integer(0, kMostValues * 8));
  tensor.bytes = tensor.count * type.bytes;
  if (end < tensor.begin || end - tensor.begin != tensor.bytes) {
    fail(where, "has data_offsets that do not fit its shape");
  }
  return tensor;
}

// Tensors in the order of the file must touch each other, and end with it.
void check_cover(const SafetensorsHeader& header, const std::string& path) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, tensor] : header.tensors) {
    ranges.emplace_back(tensor.begin, tensor.begin + tensor.bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  std::uint64_t end = 0;
  for (const auto& [begin, next] : ranges) {
    if (begin != end) fail(path + ": its tensors", "overlap or leave gaps");
    end = next;
  }
  if (end != header.data_bytes) {
    fail(path, "has " + std::to_string(header.data_bytes) + " bytes of data, its tensors have " +
                   std::to_string(end));
  }
}

}  // namespace

const char* type_name(TensorType type) {
  for (const TypeFacts& facts : kTypes) {
    if (facts.type == type) return facts.name;
  }
  return "?";
}

SafetensorsHeader read_safetensors_header(const InputFile& file) {
  if (file.size() < kLengthBytes) fail(file.path(), "is not a safetensors file");
  unsigned char bytes[kLengthBytes];
  file.read_at(0, bytes, sizeof bytes);
  std::uint64_t length = 0;
  for (std::size_t index = kLengthBytes; index-- > 0;) length = length << 8 | bytes[index];
  if (length > file.size() - kLengthBytes) {
    fail(file.path(), "is not a safetensors file, or truncated");
  }
  if (length > kMostHeaderBytes) fail(file.path(), "has too large a header");
  std::string text(static_cast<std::size_t>(length), '\0');
  file.read_at(kLengthBytes, text.data(), text.size());

  SafetensorsHeader header;
  header.data_begin = kLengthBytes + length;
  header.data_bytes = file.size() - header.data_begin;
  const Json entries = Json::parse(text, file.path());
  for (const auto& [name, entry] : entries.members()) {
    if (name == "__metadata__") {
      for (const auto& [key, value] : entry.members()) header.metadata[key] = value.string();
    } else {
      const std::string where = file.path() + ": tensor " + name.substr(0, 100);
      header.tensors.emplace(name, read_entry(entry, where));
    }
  }
  check_cover(header, file.path());
  return header;
}

}  // namespace slm
