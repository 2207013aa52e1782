// The little of Unicode that a tokenizer needs: classes of characters, and NFC.
//
// In: characters. Out: what they are, and the same text composed. It knows no tokens.
#pragma once

#include <string_view>

#include "tokenizer.h"

namespace unicode {

bool is_letter(char32_t point);
bool is_number(char32_t point);
bool is_space(char32_t point);

// Code points of a text. Throws slm::Failure unless it is UTF-8.
Characters decode(std::string_view text);
// Normal form C (https://unicode.org/reports/tr15). A composed character stands for the bytes of
// its first part.
Characters compose(const Characters& text);

}  // namespace unicode
