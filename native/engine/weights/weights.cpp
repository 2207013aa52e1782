// `Weights`: tensors of weights.safetensors by name, and matrices put together from them.
#include "weights/weights.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>

#include "failure.h"
#include "weights/pages.h"
#include "weights/safetensors.h"
#include "weights/sizes.h"

namespace slm {
namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kDataAlignment = 4096;
constexpr std::string_view kPadding = "padding.";
// What only recordings are read with. Who speaks never needs it, so it is mapped, not copied.
constexpr std::string_view kOfRecordings[] = {"codec.mel.", "codec.encoder.", "codec.prosody.",
                                              "codec.speaker.", "codec.book."};
constexpr const char* kFactsKey = "slm";
constexpr int kFormat = 1;
constexpr int kMaxOutputs = 1 << 24;
constexpr int kMaxChannels = 1 << 22;
constexpr int kMaxTaps = 256;
constexpr int kMaxBlock = 1 << 16;
constexpr std::int64_t kMaxInputs = 1 << 26;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, where + " " + what + "; copy or export the bundle again");
}

void check_alignment(const SafetensorsHeader& header, const std::string& path) {
  if (header.data_begin % kDataAlignment != 0) fail(path, "has data that are not aligned");
  for (const auto& [name, tensor] : header.tensors) {
    if (!name.starts_with(kPadding) && tensor.begin % kAlignment != 0) {
      fail(path + ": tensor " + name, "is not aligned");
    }
  }
}

Json parse_facts(const SafetensorsHeader& header, const std::string& path) {
  const auto found = header.metadata.find(kFactsKey);
  if (found == header.metadata.end()) fail(path, "holds no weights of the native engine");
  Json facts = Json::parse(found->second, path);
  if (facts.at("format").integer(0, 1'000'000) != kFormat) {
    throw Failure(SLM_NOT_SUPPORTED,
                  path +
                      ": is in a format that this library does not know; update the library, or "
                      "export the bundle again");
  }
  facts.at("matrices").members();
  return facts;
}

// A finite float32 at `key`; `missing` if there is none.
float read_factor(const Json& entry, const char* key, float missing) {
  const Json* value = entry.find(key);
  if (value == nullptr || value->kind() == Json::Kind::null) return missing;
  const auto factor = static_cast<float>(
      std::fabs(value->number()) <= std::numeric_limits<float>::max() ? value->number() : HUGE_VAL);
  if (!std::isfinite(factor)) fail(std::string("the matrices' ") + key, "is not finite");
  return factor;
}

// Bytes of the codes of one output and one input, times 2.
std::uint64_t half_bytes(Format format) {
  switch (format) {
    case Format::fp32:
      return 8;
    case Format::bf16:
    case Format::fp16:
      return 4;
    case Format::int8:
      return 2;
    case Format::int4:
      return 1;
  }
  return 0;
}

// Bytes from the begin of the data that hold every tensor that speech needs.
std::size_t bytes_of_speech(const SafetensorsHeader& header) {
  std::uint64_t end = 0;
  for (const auto& [name, tensor] : header.tensors) {
    const bool is_left = name.starts_with(kPadding) ||
                         std::any_of(std::begin(kOfRecordings), std::end(kOfRecordings),
                                     [&](std::string_view part) { return name.starts_with(part); });
    if (!is_left) end = std::max(end, tensor.begin + tensor.bytes);
  }
  return static_cast<std::size_t>(end);
}

TensorType code_type(Format format) {
  switch (format) {
    case Format::fp32:
      return TensorType::f32;
    case Format::bf16:
      return TensorType::bf16;
    case Format::fp16:
      return TensorType::f16;
    default:
      return TensorType::u8;
  }
}

}  // namespace

struct Weights::File {
  std::string path;
  SafetensorsHeader header;
  Json facts;
  Pages mapped;  // the whole file
  Pages copied;  // the first of its data

  File(const std::string& file_path, bool map, int threads) : path(file_path) {
    const InputFile file(path);
    header = read_safetensors_header(file);
    check_alignment(header, path);
    facts = parse_facts(header, path);
    if (header.data_bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
    mapped = Pages::map(file);
    if (!map) copied = Pages::copy(file, header.data_begin, bytes_of_speech(header), threads);
  }

  const std::byte* data_of(const TensorEntry& entry) const {
    if (entry.begin + entry.bytes <= copied.size()) return copied.data() + entry.begin;
    return mapped.data() + header.data_begin + entry.begin;
  }

  std::string where(std::string_view tensor) const {
    return path + ": tensor " + std::string(tensor);
  }

  // The tensor, which must be of this type and have so many values.
  const void* find(std::string_view tensor, TensorType type, std::uint64_t count) const {
    const auto found = header.tensors.find(tensor);
    if (found == header.tensors.end()) fail(where(tensor), "is missing");
    const TensorEntry& entry = found->second;
    if (entry.type != type) {
      fail(where(tensor), std::string("is not of type ") + type_name(type));
    }
    if (entry.count != count) {
      fail(where(tensor),
           "has " + std::to_string(entry.count) + " values, should have " + std::to_string(count));
    }
    return data_of(entry);
  }

  bool has(std::string_view tensor) const { return header.tensors.contains(tensor); }

  void add_blocks(const Json& entry, std::string_view name, Matrix& matrix) const;
  void add_tensors(std::string_view name, Matrix& matrix) const;
  Matrix read_matrix(std::string_view name, int outputs, int channels,
                     std::optional<int> taps) const;
};

// inputs, block, scale_blocks and input_scale of a matrix in int8 or int4.
void Weights::File::add_blocks(const Json& entry, std::string_view name, Matrix& matrix) const {
  const std::string where = path + ": matrix " + std::string(name);
  matrix.input_scale = read_factor(entry, "input_scale", 0.0f);
  if (matrix.input_scale != 0.0f) {  // of the codec: one sum over all inputs
    if (matrix.format != Format::int8) fail(where, "has an input_scale, but is not int8");
    if (!(matrix.input_scale > 0)) fail(where, "has an input_scale that is not positive");
    matrix.block = matrix.inputs;
    matrix.scale_blocks = 1;
    return;
  }
  const int block = static_cast<int>(entry.at("block").integer(kPanel, kMaxBlock));
  if (block % (matrix.format == Format::int4 ? kInt4Block : kPanel) != 0) {
    fail(where, "has blocks of " + std::to_string(block) + " inputs, which cannot be packed");
  }
  const std::int64_t inputs = (std::int64_t{matrix.inputs} + block - 1) / block * block;
  if (inputs > kMaxInputs) fail(where, "is too large");
  matrix.inputs = static_cast<int>(inputs);
  matrix.block = block;
  const int blocks = matrix.inputs / block;
  matrix.scale_blocks = static_cast<int>(entry.at("scale_blocks").integer(1, blocks));
  if (matrix.scale_blocks != 1 && matrix.scale_blocks != blocks) {
    fail(where, "must have 1 or " + std::to_string(blocks) + " scale_blocks");
  }
}

void Weights::File::add_tensors(std::string_view name, Matrix& matrix) const {
  const std::string prefix(name);
  const auto panels = static_cast<std::uint64_t>(matrix.panels());
  const auto inputs = static_cast<std::uint64_t>(matrix.inputs);
  const std::uint64_t bytes = panels * kPanel * inputs * half_bytes(matrix.format) / 2;
  const TensorType type = code_type(matrix.format);
  const std::uint64_t width = type == TensorType::f32 ? 4 : type == TensorType::u8 ? 1 : 2;
  matrix.codes = find(prefix + ".codes", type, bytes / width);
  if (matrix.scale_blocks > 0) {
    const auto count = panels * static_cast<std::uint64_t>(matrix.scale_blocks) * kPanel;
    matrix.scales =
        static_cast<const std::uint16_t*>(find(prefix + ".scales", TensorType::f16, count));
  }
  const auto optional = [&](const char* part, std::uint64_t count) -> const float* {
    const std::string tensor = prefix + part;
    if (!has(tensor)) return nullptr;
    return static_cast<const float*>(find(tensor, TensorType::f32, count));
  };
  matrix.bias = optional(".bias", panels * kPanel);
  matrix.smoothing = optional(".smoothing", inputs);
}

Matrix Weights::File::read_matrix(std::string_view name, int outputs, int channels,
                                  std::optional<int> taps) const {
  const std::string where = path + ": matrix " + std::string(name);
  const Json* entry = facts.at("matrices").find(name);
  if (entry == nullptr) fail(where, "is missing");
  const auto found_outputs = entry->at("outputs").integer(1, kMaxOutputs);
  const auto found_channels = entry->at("channels").integer(1, kMaxChannels);
  if (found_outputs != outputs || found_channels != channels) {
    fail(where, "is " + std::to_string(found_outputs) + " x " + std::to_string(found_channels) +
                    ", should be " + std::to_string(outputs) + " x " + std::to_string(channels));
  }
  Matrix matrix;
  matrix.format = read_format(entry->at("format"));
  matrix.outputs = outputs;
  matrix.channels = round_up(channels, kPanel);
  const Json* found_taps = entry->find("taps");
  matrix.taps = found_taps == nullptr ? 1 : static_cast<int>(found_taps->integer(1, kMaxTaps));
  if (taps && matrix.taps != *taps) fail(where, "has more than one tap");
  const std::int64_t inputs = std::int64_t{matrix.channels} * matrix.taps;
  if (inputs > kMaxInputs) fail(where, "is too large");
  matrix.inputs = static_cast<int>(inputs);
  matrix.gain = read_factor(*entry, "gain", 1.0f);
  if (matrix.format == Format::int8 || matrix.format == Format::int4) {
    add_blocks(*entry, name, matrix);
  }
  add_tensors(name, matrix);
  return matrix;
}

Weights::Weights(const std::string& path, bool map, int threads)
    : file_(std::make_unique<File>(path, map, threads)) {}
Weights::~Weights() = default;
Weights::Weights(Weights&&) noexcept = default;

const Json& Weights::facts() const { return file_->facts; }

Matrix Weights::matrix(std::string_view name, int outputs, int inputs) const {
  return file_->read_matrix(name, outputs, inputs, 1);
}

Matrix Weights::convolution(std::string_view name, int outputs, int channels) const {
  return file_->read_matrix(name, outputs, channels, std::nullopt);
}

Vector<std::uint16_t> Weights::halves(std::string_view tensor, std::size_t count) const {
  const auto found = file_->header.tensors.find(tensor);
  const bool is_bf16 =
      found != file_->header.tensors.end() && found->second.type == TensorType::bf16;
  const TensorType type = is_bf16 ? TensorType::bf16 : TensorType::f16;
  return {static_cast<const std::uint16_t*>(file_->find(tensor, type, count)), count};
}

Vector<std::uint8_t> Weights::bytes_of(std::string_view tensor, std::size_t count) const {
  return {static_cast<const std::uint8_t*>(file_->find(tensor, TensorType::u8, count)), count};
}

bool Weights::has(std::string_view tensor) const { return file_->has(tensor); }

bool Weights::is_half(std::string_view tensor) const {
  const auto found = file_->header.tensors.find(tensor);
  return found != file_->header.tensors.end() &&
         (found->second.type == TensorType::bf16 || found->second.type == TensorType::f16);
}

Vector<float> Weights::floats(std::string_view tensor, std::size_t count) const {
  return {static_cast<const float*>(file_->find(tensor, TensorType::f32, count)), count};
}

std::size_t Weights::bytes() const { return static_cast<std::size_t>(file_->header.data_bytes); }

}  // namespace slm
