// Reading embeddings.npy (format:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
#include "api/embedding_table.h"

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "failure.h"
#include "weights/float16.h"

namespace slm {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::uint64_t kMostHeaderBytes = 65'536;

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, path + ": " + what + "; copy or export the bundle again");
}

// What stands between `before` and `after`, in the text of a Python dictionary.
std::string_view between(std::string_view text, std::string_view before, std::string_view after) {
  const std::size_t begin = text.find(before);
  if (begin == std::string_view::npos) return {};
  text.remove_prefix(begin + before.size());
  const std::size_t end = text.find(after);
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end);
}

// A whole number at the beginning of a text, which goes behind it. -1 if there is none.
std::int64_t take_number(std::string_view& text) {
  std::int64_t value = -1;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc()) return -1;
  text.remove_prefix(static_cast<std::size_t>(result.ptr - text.data()));
  return value;
}

struct Header {
  std::uint64_t begin = 0;  // of the data
  std::string_view text;
};

Header find_header(const std::string& path, const Pages& pages) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(pages.data());
  const std::size_t version = kMagic.size();
  if (pages.size() < version + 6 || std::memcmp(bytes, kMagic.data(), kMagic.size()) != 0) {
    fail(path, "is no .npy file");
  }
  const unsigned major = bytes[version];
  if (major < 1 || major > 3) fail(path, "is a .npy file of an unknown version");
  const std::size_t width = major == 1 ? 2 : 4;
  std::uint64_t length = 0;
  for (std::size_t index = width; index-- > 0;) length = length << 8 | bytes[version + 2 + index];
  const std::size_t first = version + 2 + width;
  if (length > kMostHeaderBytes || length > pages.size() - first) fail(path, "is truncated");
  const auto size = static_cast<std::size_t>(length);
  return {first + size, {reinterpret_cast<const char*>(bytes) + first, size}};
}

}  // namespace

EmbeddingTable::EmbeddingTable(const std::string& path, int hidden_size)
    : pages_(Pages::map(InputFile(path))), hidden_size_(hidden_size) {
  const Header header = find_header(path, pages_);
  const std::string_view type = between(header.text, "'descr': '", "'");
  if (type != "<f4" && type != "<f2") fail(path, "must be of type float32 or float16");
  is_half_ = type == "<f2";
  if (between(header.text, "'fortran_order': ", ",") != "False")
    fail(path, "is in Fortran's order");
  std::string_view shape = between(header.text, "'shape': (", ")");
  const std::int64_t rows = take_number(shape);
  const bool is_matrix = shape.starts_with(", ");
  shape.remove_prefix(is_matrix ? 2 : shape.size());
  const std::int64_t columns = take_number(shape);
  if (!is_matrix || !shape.empty() || columns != hidden_size || rows < 1 ||
      rows > std::numeric_limits<std::int32_t>::max()) {
    fail(path, "must have the shape [vocabulary, " + std::to_string(hidden_size) + "]");
  }
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(columns) * (is_half_ ? 2 : 4);
  if (bytes != pages_.size() - header.begin) fail(path, "has more or fewer rows than it says");
  begin_ = static_cast<std::size_t>(header.begin);
  vocabulary_ = static_cast<int>(rows);
}

void EmbeddingTable::read(int token, float* embedding) const {
  const auto width = static_cast<std::size_t>(hidden_size_);
  const std::size_t row = static_cast<std::size_t>(token) * width;
  if (!is_half_) {
    std::memcpy(embedding, pages_.data() + begin_ + row * sizeof(float), width * sizeof(float));
    return;
  }
  const std::byte* halves = pages_.data() + begin_ + row * sizeof(std::uint16_t);
  for (std::size_t index = 0; index < width; ++index) {
    std::uint16_t half = 0;
    std::memcpy(&half, halves + index * sizeof half, sizeof half);
    embedding[index] = from_float16(half);
  }
}

}  // namespace slm
