// How a text is cut into words before they become tokens.
//
// In: characters. Out: where each word ends. These are two regular expressions, by hand.
#pragma once

#include <cstddef>

#include "tokenizer.h"

// Patterns as tokenizer.json has them.
inline constexpr const char* kQwen2Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
inline constexpr const char* kPhonemePattern = "[ˈˌ]*.";

// The end of the word that begins at `begin`, which is not the end of the text.
std::size_t end_of_qwen2_word(const Characters& text, std::size_t begin);
std::size_t end_of_phoneme(const Characters& text, std::size_t begin);
