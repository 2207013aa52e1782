// Reading tokenizer.json, and encoding.
#include "tokenizer.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>

#include "failure.h"
#include "unicode.h"
#include "weights/utf8.h"
#include "word_rules.h"

namespace {

using slm::Json;

[[noreturn]] void refuse(const std::string& what) {
  throw slm::Failure(SLM_NOT_SUPPORTED, "tokenizer.json: " + what +
                                            ", which this program does not know; give --tokens");
}

bool is_null(const Json* value) { return value == nullptr || value->kind() == Json::Kind::null; }

// A setting that must be as it is for all tokenizers that are known here.
void expect(bool is_known, const Json& section, const char* key) {
  if (!is_known) refuse(section.at("type").string() + " with a '" + key + "' of its own");
}

void expect_off(const Json& section, const char* key) {
  const Json* value = section.find(key);
  expect(is_null(value) || !value->boolean(), section, key);
}

void expect_empty(const Json& section, const char* key) {
  const Json* value = section.find(key);
  expect(is_null(value) || value->string().empty(), section, key);
}

std::string split_pattern(const Json& split) {
  expect(split.at("behavior").string() == "Isolated", split, "behavior");
  expect_off(split, "invert");
  return split.at("pattern").at("Regex").string();
}

void expect_qwen2_words(const Json& words) {
  if (is_null(&words) || words.at("type").string() != "Sequence") refuse("BPE without a Sequence");
  const std::vector<Json>& steps = words.at("pretokenizers").items();
  if (steps.size() != 2 || steps[0].at("type").string() != "Split" ||
      steps[1].at("type").string() != "ByteLevel") {
    refuse("another Sequence than Split and ByteLevel");
  }
  expect(split_pattern(steps[0]) == kQwen2Pattern, steps[0], "pattern");
  expect_off(steps[1], "add_prefix_space");
  expect(!steps[1].at("use_regex").boolean(), steps[1], "use_regex");
}

// How byte-level BPE writes bytes: those that are not visible are the characters from U+0100 on.
std::vector<char32_t> list_byte_letters() {
  std::vector<char32_t> letters(256);
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool is_visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    letters[byte] = is_visible ? byte : next++;
  }
  return letters;
}

// A token as the vocabulary writes it -> its bytes. "" if it is not made of such letters.
std::string to_bytes(const std::string& token) {
  static const std::unordered_map<char32_t, char> kBytes = [] {
    std::unordered_map<char32_t, char> bytes;
    const std::vector<char32_t> letters = list_byte_letters();
    for (std::size_t byte = 0; byte < letters.size(); ++byte) {
      bytes[letters[byte]] = static_cast<char>(byte);
    }
    return bytes;
  }();
  std::string bytes;
  for (const Character& letter : unicode::decode(token)) {
    const auto found = kBytes.find(letter.point);
    if (found == kBytes.end()) return "";
    bytes += found->second;
  }
  return bytes;
}

std::string to_utf8(const Characters& text, std::size_t begin, std::size_t end) {
  std::string utf8;
  for (std::size_t index = begin; index < end; ++index) slm::append_utf8(text[index].point, utf8);
  return utf8;
}

int read_id(const Json& value) {
  return static_cast<int>(value.integer(0, std::numeric_limits<int>::max()));
}

}  // namespace

Tokenizer::Tokenizer(const Json& json) {
  const Json& model = json.at("model");
  const std::string& kind = model.at("type").string();
  const Json* normalizer = json.find("normalizer");
  composes_ = !is_null(normalizer);
  if (composes_ && normalizer->at("type").string() != "NFC") refuse("a normalizer other than NFC");
  const Json& words = json.at("pre_tokenizer");
  if (kind == "BPE") {
    is_bpe_ = true;
    expect_qwen2_words(words);
    read_bpe(model);
  } else if (kind == "WordLevel") {
    if (words.at("type").string() != "Split") refuse("words that are not split");
    expect(split_pattern(words) == kPhonemePattern, words, "pattern");
    for (const auto& [token, id] : model.at("vocab").members()) vocabulary_[token] = read_id(id);
    const auto unknown = vocabulary_.find(model.at("unk_token").string());
    if (unknown == vocabulary_.end()) refuse("a vocabulary without its unk_token");
    unknown_ = unknown->second;
  } else {
    refuse("the model " + kind.substr(0, 40));
  }
  read_added(json.at("added_tokens"));
}

void Tokenizer::read_added(const Json& tokens) {
  for (const Json& token : tokens.items()) {
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      if (token.at(key).boolean()) refuse(std::string("an added token with ") + key);
    }
    const bool is_composed = token.at("normalized").boolean();
    Added& added = is_composed ? added_composed_ : added_;
    Characters content = unicode::decode(token.at("content").string());
    if (is_composed && composes_) content = unicode::compose(content);
    if (content.empty()) continue;
    std::u32string points;
    for (const Character& character : content) points += character.point;
    added.first_points.insert(points[0]);
    added.lengths.push_back(points.size());
    added.ids[points] = read_id(token.at("id"));
  }
  for (Added* added : {&added_, &added_composed_}) {
    std::sort(added->lengths.begin(), added->lengths.end(), std::greater<>());
    added->lengths.erase(std::unique(added->lengths.begin(), added->lengths.end()),
                         added->lengths.end());
  }
}

void Tokenizer::read_bpe(const Json& model) {
  for (const char* key : {"byte_fallback", "ignore_merges"}) expect_off(model, key);
  for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    expect_empty(model, key);
  }
  expect(is_null(model.find("dropout")), model, "dropout");
  for (const auto& [token, id] : model.at("vocab").members()) {
    const std::string bytes = to_bytes(token);
    if (!bytes.empty()) vocabulary_[bytes] = read_id(id);
  }
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = vocabulary_.find(std::string(1, static_cast<char>(byte)));
    if (found == vocabulary_.end()) refuse("a vocabulary that lacks byte " + std::to_string(byte));
    byte_ids_[byte] = found->second;
  }
  std::size_t rank = 0;
  for (const Json& pair : model.at("merges").items()) read_merge(pair, rank++);
}

// ["a", "b"], or "a b" in older files.
void Tokenizer::read_merge(const Json& pair, std::size_t rank) {
  std::string parts[2];
  if (pair.kind() == Json::Kind::string) {
    const std::size_t space = pair.string().find(' ');
    parts[0] = pair.string().substr(0, space);
    parts[1] = space == std::string::npos ? "" : pair.string().substr(space + 1);
  } else if (pair.items().size() == 2) {
    for (int side = 0; side < 2; ++side) {
      parts[side] = pair.items()[static_cast<std::size_t>(side)].string();
    }
  }
  const std::string first = to_bytes(parts[0]), second = to_bytes(parts[1]);
  const auto end = vocabulary_.end();
  const auto one = vocabulary_.find(first), other = vocabulary_.find(second);
  const auto both = vocabulary_.find(first + second);
  if (one == end || other == end || both == end) refuse("a merge of tokens that are not there");
  const auto key =
      static_cast<std::uint64_t>(one->second) << 32 | static_cast<std::uint64_t>(other->second);
  merges_[key] = {rank, both->second};
}

std::size_t Tokenizer::Added::find(const Characters& text, std::size_t at, int& id) const {
  if (!first_points.contains(text[at].point)) return 0;
  for (const std::size_t length : lengths) {
    if (length > text.size() - at) continue;
    std::u32string points;
    for (std::size_t index = 0; index < length; ++index) points += text[at + index].point;
    if (const auto found = ids.find(points); found != ids.end()) {
      id = found->second;
      return length;
    }
  }
  return 0;
}

// Added tokens become tokens; what is between them goes to `encode_rest`.
template <typename Rest>
void Tokenizer::split_added(const Added& added, const Characters& text, std::vector<Token>& tokens,
                            const Rest& encode_rest) {
  std::size_t rest = 0;
  const auto flush = [&](std::size_t end) {
    if (end > rest)
      encode_rest(Characters(text.begin() + static_cast<std::ptrdiff_t>(rest),
                             text.begin() + static_cast<std::ptrdiff_t>(end)));
  };
  for (std::size_t at = 0; at < text.size();) {
    int id = 0;
    const std::size_t length = added.find(text, at, id);
    if (length > 0) {
      flush(at);
      tokens.push_back({id, text[at].begin, text[at + length - 1].end});
      rest = at + length;
    }
    at += std::max<std::size_t>(length, 1);
  }
  flush(text.size());
}

std::vector<Token> Tokenizer::encode(std::string_view text) const {
  std::vector<Token> tokens;
  split_added(added_, unicode::decode(text), tokens, [&](const Characters& piece) {
    split_added(added_composed_, composes_ ? unicode::compose(piece) : piece, tokens,
                [&](const Characters& rest) { encode_plain(rest, tokens); });
  });
  return tokens;
}

void Tokenizer::encode_plain(const Characters& text, std::vector<Token>& tokens) const {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = is_bpe_ ? end_of_qwen2_word(text, begin) : end_of_phoneme(text, begin);
    encode_word(text, begin, end, tokens);
    begin = end;
  }
}

void Tokenizer::encode_word(const Characters& text, std::size_t begin, std::size_t end,
                            std::vector<Token>& tokens) const {
  if (is_bpe_) {
    merge_bytes(Characters(text.begin() + static_cast<std::ptrdiff_t>(begin),
                           text.begin() + static_cast<std::ptrdiff_t>(end)),
                tokens);
    return;
  }
  const auto found = vocabulary_.find(to_utf8(text, begin, end));
  tokens.push_back({found == vocabulary_.end() ? unknown_ : found->second, text[begin].begin,
                    text[end - 1].end});
}

const Tokenizer::Merge* Tokenizer::find_merge(int first, int second) const {
  const auto found =
      merges_.find(static_cast<std::uint64_t>(first) << 32 | static_cast<std::uint64_t>(second));
  return found == merges_.end() ? nullptr : &found->second;
}

// The bytes of a word, joined pair by pair: the pair that was learned first, the leftmost of
// several.
void Tokenizer::merge_bytes(const Characters& word, std::vector<Token>& tokens) const {
  struct Symbol {
    Token token;
    std::size_t before, after;  // indices of neighbours; kNone at the ends
    bool is_joined = false;     // to the one before
  };
  struct Candidate {
    std::size_t rank, at;
    int id;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::vector<Symbol> symbols;
  for (std::size_t index = 0; index < word.size(); ++index) {
    for (const char byte : to_utf8(word, index, index + 1)) {
      const std::size_t at = symbols.size();
      const int id = byte_ids_[static_cast<unsigned char>(byte)];
      symbols.push_back({{id, word[index].begin, word[index].end}, at - 1, at + 1});
    }
  }
  symbols.back().after = kNone;  // the first one's `before` is kNone already
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto consider = [&](std::size_t at) {
    if (at == kNone || symbols[at].after == kNone) return;
    const Merge* merge = find_merge(symbols[at].token.id, symbols[symbols[at].after].token.id);
    if (merge != nullptr) candidates.push({merge->rank, at, merge->id});
  };
  for (std::size_t at = 0; at < symbols.size(); ++at) consider(at);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = symbols[best.at];
    if (left.is_joined || left.after == kNone) continue;
    Symbol& right = symbols[left.after];
    const Merge* merge = find_merge(left.token.id, right.token.id);
    if (merge == nullptr || merge->id != best.id) continue;  // another merge came first
    left.token = {best.id, left.token.begin, right.token.end};
    right.is_joined = true;
    left.after = right.after;
    if (left.after != kNone) symbols[left.after].before = best.at;
    consider(left.before);
    consider(best.at);
  }
  for (const Symbol& symbol : symbols) {
    if (!symbol.is_joined) tokens.push_back(symbol.token);
  }
}
