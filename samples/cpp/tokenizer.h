// The tokenizer of a bundle: text becomes token ids, as the `tokenizers` package does it.
//
// In: tokenizer.json. Out: ids, and the bytes of the text behind each. Two kinds are known:
// byte-level BPE with Qwen2's rules, and one token for each phoneme. Others are refused, not
// guessed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "weights/json.h"

struct Token {
  int id = 0;
  std::size_t begin = 0;  // bytes of the text that it stands for
  std::size_t end = 0;
};

// A code point, and the bytes of the text that it comes from.
struct Character {
  char32_t point = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
};
using Characters = std::vector<Character>;

class Tokenizer {
 public:
  // Throws slm::Failure: another kind of tokenizer, or a damaged one.
  explicit Tokenizer(const slm::Json& json);

  // Throws slm::Failure unless the text is UTF-8.
  std::vector<Token> encode(std::string_view text) const;

 private:
  // Tokens that are found in a text before everything else, such as <sosp>.
  struct Added {
    std::unordered_map<std::u32string, int> ids;
    std::vector<std::size_t> lengths;  // longest first
    std::unordered_set<char32_t> first_points;
    std::size_t find(const Characters& text, std::size_t at, int& id) const;
  };
  struct Merge {
    std::size_t rank;
    int id;
  };

  void read_added(const slm::Json& tokens);
  void read_bpe(const slm::Json& model);
  void read_merge(const slm::Json& pair, std::size_t rank);
  template <typename Rest>
  static void split_added(const Added& added, const Characters& text, std::vector<Token>& tokens,
                          const Rest& encode_rest);
  void encode_plain(const Characters& text, std::vector<Token>& tokens) const;
  void encode_word(const Characters& text, std::size_t begin, std::size_t end,
                   std::vector<Token>& tokens) const;
  void merge_bytes(const Characters& word, std::vector<Token>& tokens) const;
  const Merge* find_merge(int first, int second) const;

  bool is_bpe_ = false;
  bool composes_ = false;                            // the text goes through NFC first
  Added added_;                                      // found in the text as it is
  Added added_composed_;                             // found after NFC
  std::unordered_map<std::string, int> vocabulary_;  // BPE: by bytes
  std::unordered_map<std::uint64_t, Merge> merges_;  // by both ids
  int byte_ids_[256];
  int unknown_ = 0;
};
