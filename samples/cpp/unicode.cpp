// Classes of characters and NFC, from unicode_tables.h.
#include "unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <unordered_map>

#include "failure.h"
#include "unicode_tables.h"
#include "weights/utf8.h"

namespace unicode {
namespace {

constexpr char32_t kHangul = 0xAC00, kLeading = 0x1100, kVowel = 0x1161, kTrailing = 0x11A7;
constexpr char32_t kLeadings = 19, kVowels = 21, kTrailings = 28;

template <typename Row, std::size_t size>
const Row* find_range(const Row (&rows)[size], char32_t point) {
  const Row* row =
      std::upper_bound(std::begin(rows), std::end(rows), point,
                       [](char32_t value, const Row& range) { return value < range.first; });
  return row != std::begin(rows) && point <= std::prev(row)->last ? std::prev(row) : nullptr;
}

int combining_class(char32_t point) {
  const Mark* mark = find_range(kMarks, point);
  return mark == nullptr ? 0 : mark->combining_class;
}

const Decomposition* find_decomposition(char32_t point) {
  const auto* row = std::lower_bound(std::begin(kDecompositions), std::end(kDecompositions), point,
                                     [](const Decomposition& decomposition, char32_t value) {
                                       return decomposition.point < value;
                                     });
  return row != std::end(kDecompositions) && row->point == point ? row : nullptr;
}

std::uint64_t pair_key(char32_t first, char32_t second) {
  return std::uint64_t{first} << 32 | second;
}

// The character that two compose to, or 0.
char32_t compose_pair(char32_t first, char32_t second) {
  static const std::unordered_map<std::uint64_t, char32_t> kPairs = [] {
    std::unordered_map<std::uint64_t, char32_t> pairs;
    for (const char32_t point : kComposed) {
      const Decomposition* parts = find_decomposition(point);
      pairs[pair_key(parts->first, parts->second)] = point;
    }
    return pairs;
  }();
  if (first - kLeading < kLeadings && second - kVowel < kVowels) {
    return kHangul + ((first - kLeading) * kVowels + second - kVowel) * kTrailings;
  }
  const bool is_open =
      first - kHangul < kLeadings * kVowels * kTrailings && (first - kHangul) % kTrailings == 0;
  if (is_open && second > kTrailing && second < kTrailing + kTrailings) {
    return first + (second - kTrailing);
  }
  const auto found = kPairs.find(pair_key(first, second));
  return found == kPairs.end() ? 0 : found->second;
}

void decompose(Character character, Characters& parts) {
  const auto with = [&](char32_t point) {
    return Character{point, character.begin, character.end};
  };
  const char32_t syllable = character.point - kHangul;
  if (syllable < kLeadings * kVowels * kTrailings) {
    parts.push_back(with(kLeading + syllable / (kVowels * kTrailings)));
    parts.push_back(with(kVowel + syllable / kTrailings % kVowels));
    if (syllable % kTrailings != 0) parts.push_back(with(kTrailing + syllable % kTrailings));
  } else if (const Decomposition* found = find_decomposition(character.point)) {
    decompose(with(found->first), parts);
    if (found->second != 0) decompose(with(found->second), parts);
  } else {
    parts.push_back(character);
  }
}

// Marks that follow each other go by their combining class. The bytes that they stand for stay in
// the order of the text.
void order_marks(Characters& parts) {
  const auto is_base = [](const Character& part) { return combining_class(part.point) == 0; };
  for (auto begin = parts.begin(); begin != parts.end();) {
    begin = std::find_if_not(begin, parts.end(), is_base);
    const auto end = std::find_if(begin, parts.end(), is_base);
    std::vector<char32_t> marks;
    for (auto part = begin; part != end; ++part) marks.push_back(part->point);
    std::stable_sort(marks.begin(), marks.end(), [](char32_t one, char32_t other) {
      return combining_class(one) < combining_class(other);
    });
    for (const char32_t mark : marks) (begin++)->point = mark;
  }
}

}  // namespace

bool is_letter(char32_t point) { return find_range(kLetters, point) != nullptr; }
bool is_number(char32_t point) { return find_range(kNumbers, point) != nullptr; }
bool is_space(char32_t point) { return find_range(kSpaces, point) != nullptr; }

Characters decode(std::string_view text) {
  Characters characters;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = slm::utf8_length(text.substr(at));
    if (length == 0) throw slm::Failure(SLM_BAD_ARGUMENT, "the text is not UTF-8; convert it");
    characters.push_back({slm::decode_utf8(text.substr(at, length)), at, at + length});
    at += length;
  }
  return characters;
}

Characters compose(const Characters& text) {
  Characters parts;
  for (const Character& character : text) decompose(character, parts);
  order_marks(parts);
  Characters composed;
  std::size_t base = 0;  // index of the last character of class 0
  bool has_base = false;
  int class_before = 0;  // of the character before, if it was left apart from its base
  for (const Character& part : parts) {
    const int now = combining_class(part.point);
    const bool is_reached = has_base && (composed.size() == base + 1 || class_before < now);
    const char32_t joined = is_reached ? compose_pair(composed[base].point, part.point) : 0;
    if (joined != 0) {
      composed[base].point = joined;
      continue;
    }
    composed.push_back(part);
    class_before = now;
    if (now == 0) {
      base = composed.size() - 1;
      has_base = true;
    }
  }
  return composed;
}

}  // namespace unicode
