// The two patterns. Alternatives are tried in their order, and repetitions take all they can.
#include "word_rules.h"

#include "unicode.h"

namespace {

bool is_line_end(char32_t point) { return point == '\r' || point == '\n'; }
bool is_sign(char32_t point) {
  return !unicode::is_space(point) && !unicode::is_letter(point) && !unicode::is_number(point);
}

// A small Latin letter for its capital, and for the long s, which case folding takes for an s.
char32_t fold(char32_t point) {
  if (point >= 'A' && point <= 'Z') return point + ('a' - 'A');
  return point == 0x17F ? U's' : point;
}

template <typename Class>
std::size_t skip(const Characters& text, std::size_t at, const Class& is_member) {
  while (at < text.size() && is_member(text[at].point)) ++at;
  return at;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d): its end, or `begin`.
std::size_t end_of_contraction(const Characters& text, std::size_t begin) {
  const auto at = [&](std::size_t index) {
    return begin + index < text.size() ? fold(text[begin + index].point) : 0;
  };
  if (at(0) != '\'') return begin;
  if (at(1) == 's' || at(1) == 't') return begin + 2;
  if ((at(1) == 'r' || at(1) == 'v') && at(2) == 'e') return begin + 3;
  if (at(1) == 'm') return begin + 2;
  if (at(1) == 'l' && at(2) == 'l') return begin + 3;
  return at(1) == 'd' ? begin + 2 : begin;
}

// [^\r\n\p{L}\p{N}]?\p{L}+
std::size_t end_of_letters(const Characters& text, std::size_t begin) {
  const char32_t first = text[begin].point;
  const bool is_before =
      !is_line_end(first) && !unicode::is_letter(first) && !unicode::is_number(first);
  const std::size_t letters = begin + (is_before ? 1 : 0);
  const std::size_t end = skip(text, letters, unicode::is_letter);
  return end > letters ? end : begin;
}

//  ?[^\s\p{L}\p{N}]+[\r\n]*
std::size_t end_of_signs(const Characters& text, std::size_t begin) {
  const std::size_t signs = begin + (text[begin].point == ' ' ? 1 : 0);
  const std::size_t end = skip(text, signs, is_sign);
  return end > signs ? skip(text, end, is_line_end) : begin;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
std::size_t end_of_space(const Characters& text, std::size_t begin) {
  const std::size_t end = skip(text, begin, unicode::is_space);
  for (std::size_t last = end; last > begin; --last) {
    if (is_line_end(text[last - 1].point)) return last;
  }
  return end == text.size() || end - begin == 1 ? end : end - 1;
}

}  // namespace

std::size_t end_of_qwen2_word(const Characters& text, std::size_t begin) {
  for (const auto rule : {end_of_contraction, end_of_letters}) {
    if (const std::size_t end = rule(text, begin); end > begin) return end;
  }
  if (unicode::is_number(text[begin].point)) return begin + 1;
  if (const std::size_t end = end_of_signs(text, begin); end > begin) return end;
  return end_of_space(text, begin);
}

std::size_t end_of_phoneme(const Characters& text, std::size_t begin) {
  const auto is_stress = [](char32_t point) { return point == 0x2C8 || point == 0x2CC; };
  const auto is_newline = [](char32_t point) { return point == '\n'; };
  if (is_newline(text[begin].point)) return skip(text, begin, is_newline);  // no '.' matches these
  const std::size_t end = skip(text, begin, is_stress);
  return end == text.size() || is_newline(text[end].point) ? end : end + 1;
}
